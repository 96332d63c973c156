"""lora-own: the LoRA that was trained, its own factors as they are, in fp16, int8 or int4.

No decomposition: the files hold A, and B times the scaling α / r, of every linear layer. `lora-own`
is a PEFT adapter in fp16; in int8 and int4 each row of A and column of B is in groups of 64
values with an fp16 scale, of the least squared error.
"""

import torch

from osd_edge.exporters.compare.peers.lora import LoraExtraction, adapter
from osd_edge.exporters.compare.peers.packed_columns import FactorColumns, PackedColumns, Precision
from osd_edge.exporters.compare.peers.peer import Compressed
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.factorize import Factors
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.low_rank import LowRank

_GROUP = 64


def own_products(source: Source) -> dict[str, LowRank]:
    """B A of every layer of a source whose fine-tuned model is a LoRA."""
    products = {}
    for layer in source.layers:
        product = source.models.tuned.low_rank(f"{layer.name}.weight")
        assert product is not None, "the method needs a product"
        products[layer.name] = product
    return products


class OwnLora(LoraExtraction):
    """The trained factors in fp16, in the files of a PEFT adapter."""

    name = "lora-own"
    sized = False

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one adapter there is."""
        factors = {
            name: Factors(p.b.T.contiguous(), p.a.contiguous(), torch.ones(len(p.a)))
            for name, p in own_products(source).items()
        }
        rank = max(len(f.singular) for f in factors.values())
        return Compressed(adapter(source, factors, source.head(), rank), {"rank": rank})


class _OwnInFewBits(PackedColumns):
    """The trained factors in few bits."""

    def parts(self, source: Source) -> dict[str, FactorColumns]:
        """A and B as they are."""
        products = own_products(source)
        return {"columns": {n: (p.b.T.contiguous(), p.a) for n, p in products.items()}}


class OwnLoraInt8(_OwnInFewBits):
    """The trained factors in 8 bits."""

    name = "lora-own-int8"
    precisions = (("columns", Precision(8, _GROUP)),)


class OwnLoraInt4(_OwnInFewBits):
    """The trained factors in 4 bits."""

    name = "lora-own-int4"
    precisions = (("columns", Precision(4, _GROUP)),)
