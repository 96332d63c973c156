"""The head of a fine-tuned model as the bundle stores it."""

import torch

from osd_edge.exporters.methods.factorize import truncated_svd
from osd_edge.exporters.methods.head_options import HeadOptions
from osd_edge.exporters.methods.stored.values import stored_matrix, stored_product
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.head_plan import HeadPlan, head_values
from osd_edge.formats.bundle.model import StoredHead
from osd_edge.formats.bundle.plain import PlainLayer

BIG = 128  # a dense layer with both sides at least this wide may be stored as factors
KEPT_ENERGY = 0.99  # share of a big layer's squared norm that its factors keep


def stored_head(tuned: Checkpoint, plan: HeadPlan, options: HeadOptions) -> StoredHead:
    """The head of `tuned` that `plan` describes, stored as `options` say."""
    values = head_values(tuned, plan.modules)
    layers = [
        stored_head_layer(
            values[f"{module.path}.weight"],
            module.activation,
            values.get(f"{module.path}.bias"),
            options,
        )
        for module in plan.modules
    ]
    return StoredHead(plan.kind, plan.pooling, tuple(layers), plan.normalize)


def stored_head_layer(
    weight: torch.Tensor,
    activation: str | None,
    bias: torch.Tensor | None,
    options: HeadOptions,
) -> PlainLayer:
    """A linear layer of a head, `weight` `[n, d]`, stored as `options` say."""
    row = None if bias is None else bias.numpy()
    rank = _rank(weight, options) if min(weight.shape) >= BIG else None
    if rank is None:
        return PlainLayer(activation, row, weight=stored_matrix(weight, options.values))
    factors = truncated_svd(weight, rank)
    u, v = stored_product(factors.u, factors.v, options.values)
    return PlainLayer(activation, row, u=u, v=v)


def _rank(weight: torch.Tensor, options: HeadOptions) -> int | None:
    """Rank of a big layer's factors, None for a full matrix."""
    n, d = weight.shape
    if options.rank is not None:
        return options.rank if 0 < options.rank < min(n, d) else None
    energy = torch.linalg.svdvals(weight.double()).square().cumsum(0)
    rank: int | None = int((energy < KEPT_ENERGY * energy[-1]).sum()) + 1
    if rank is not None and rank * (n + d) >= n * d:
        rank = None
    if options.max_bytes is not None:
        element = {"fp32": 4, "fp16": 2, "int8": 1}[options.values]
        most = max(1, options.max_bytes // (element * (n + d)))
        if (rank or n * d / (n + d)) > most:
            rank = most
    return rank
