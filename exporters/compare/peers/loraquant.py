"""loraquant: a LoRA in fewer than two bits a value, after LoRAQuant (arXiv 2510.26690).

From the paper: the product B A of a layer is decomposed again, B' = P √S and A' = √S Qᵀ, so that
the first columns hold the most; the fewest that make up the share ρ = 0.9 of the squared singular
values are kept in 3 or 2 bits (`loraquant-3`, `loraquant-2`), the others as signs; columns of B'
and rows of A' are in groups of 128 values that share a scale.

Other than in the paper: scales are those of the least squared error, found by a search over
clipped peaks and least squares, where the paper rounds to nearest between the extremes and then
trains each pair by gradients through the rounding; levels lie evenly around zero, so that no zero
point is stored; each fp16 scale is counted, and the head of a classifier is in fp16.
"""

from osd_edge.exporters.compare.peers.own_lora import own_products
from osd_edge.exporters.compare.peers.packed_columns import FactorColumns, PackedColumns, Precision
from osd_edge.exporters.methods.factorize import truncated_svd
from osd_edge.exporters.methods.source import Source

SHARE = 0.9  # ρ
_GROUP = 128
_LEADING, _SIGNS = "leading", "signs"


class _LoraQuant(PackedColumns):
    """Leading directions in a few bits, the rest as signs."""

    def parts(self, source: Source) -> dict[str, FactorColumns]:
        """The columns that make up ρ of each layer, and those that are left."""
        leading, signs = {}, {}
        for name, product in own_products(source).items():
            f = truncated_svd(product, len(product.a))
            energy = f.singular.square().cumsum(0)
            count = int((energy < SHARE * energy[-1]).sum()) + 1
            leading[name] = f.u[:count], f.v[:count]
            signs[name] = f.u[count:], f.v[count:]
        return {_LEADING: leading, _SIGNS: signs}


class LoraQuant3(_LoraQuant):
    """The leading directions in 3 bits."""

    name = "loraquant-3"
    precisions = ((_LEADING, Precision(3, _GROUP)), (_SIGNS, Precision(1, _GROUP)))


class LoraQuant2(_LoraQuant):
    """The leading directions in 2 bits."""

    name = "loraquant-2"
    precisions = ((_LEADING, Precision(2, _GROUP)), (_SIGNS, Precision(1, _GROUP)))
