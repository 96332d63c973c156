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

import torch

from osd_edge.exporters.compare.peers import flat
from osd_edge.exporters.compare.peers.own_lora import own_products
from osd_edge.exporters.compare.peers.packed_columns import (
    FactorColumns,
    Precision,
    packed,
    unpacked,
)
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.factorize import truncated_svd
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone

SHARE = 0.9  # ρ
_GROUP = 128
_SIGNS = Precision(1, _GROUP)
_LEADING, _REST = "leading", "rest"
_FILE = "loraquant.safetensors"


class _LoraQuant:
    """Leading directions in a few bits, the rest as signs."""

    name: str
    sized = False
    bits: int

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        leading, rest, values = {}, {}, 0
        for name, product in own_products(source).items():
            f = truncated_svd(product, len(product.a))
            energy = f.singular.square().cumsum(0)
            count = int((energy < SHARE * energy[-1]).sum()) + 1
            leading[name] = f.u[:count], f.v[:count]
            rest[name] = f.u[count:], f.v[count:]
            values += f.u.numel() + f.v.numel()
        tensors = flat.fp16_head(source) | {"sites": flat.site_table(source)}
        tensors |= packed(_LEADING, leading, Precision(self.bits, _GROUP))
        tensors |= packed(_REST, rest, _SIGNS)
        compressed = Compressed({_FILE: flat.pack(tensors)})
        whole = 8 * compressed.size / values
        detail = {"leading_columns": _count(leading), "bits_a_value": round(whole, 2)}
        return Compressed(compressed.files, detail)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The sum of both parts at each layer, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers = flat.listed_layers(tensors, backbone)
        deltas: dict[str, torch.Tensor] = unpacked(
            tensors, _LEADING, layers, Precision(self.bits, _GROUP)
        )
        for name, delta in unpacked(tensors, _REST, layers, _SIGNS).items():
            deltas[name] += delta
        return Restored(deltas, flat.read_head(tensors))


def _count(columns: FactorColumns) -> int:
    return sum(len(b) for b, _ in columns.values())


class LoraQuant3(_LoraQuant):
    """The leading directions in 3 bits."""

    name = "loraquant-3"
    bits = 3


class LoraQuant2(_LoraQuant):
    """The leading directions in 2 bits."""

    name = "loraquant-2"
    bits = 2
