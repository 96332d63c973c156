"""Sparsification of both factors: the best elements by score are kept, within a bit budget."""

import torch

from osd_edge.exporters.methods.budget import SCALE_BITS, element_bits
from osd_edge.exporters.methods.factorize import Factors


def sparsify(
    factors: Factors,
    scores: tuple[torch.Tensor, torch.Tensor],
    k: int,
    bits: int,
    values: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """U `[k, n]` and V `[k, d]` with all but the best elements set to zero.

    `scores` rank the elements of U and V together, over the first `k` columns; elements are
    taken from the best down while the paper's bit count μ stays within `bits`. A column that
    keeps nothing on one side is dropped, and its bits go to the others.
    """
    u, v = factors.u[:k], factors.v[:k]
    k = u.shape[0]
    alive = torch.ones(k, dtype=torch.bool)
    while True:
        available = bits - (SCALE_BITS * int(alive.sum()) if values == "int8" else 0)
        keep_u, keep_v = _best(scores[0][:k], scores[1][:k], alive, available, values)
        useful = keep_u.any(1) & keep_v.any(1)
        if bool((useful == alive).all()):
            return u * keep_u, v * keep_v
        alive = useful


def _best(
    scores_u: torch.Tensor, scores_v: torch.Tensor, alive: torch.Tensor, bits: int, values: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of the best elements of alive columns whose bits add up to at most `bits`."""
    (k, n), d = scores_u.shape, scores_v.shape[1]
    u_bits, v_bits = element_bits(n, d, k, values)
    dead = ~alive[:, None]
    flat = torch.cat(
        [scores_u.masked_fill(dead, 0).reshape(-1), scores_v.masked_fill(dead, 0).reshape(-1)]
    )
    order = torch.argsort(flat, descending=True, stable=True)
    cost = torch.where(order < k * n, u_bits, v_bits).cumsum(0)
    kept = order[(cost <= bits) & (flat[order] > 0)]
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[kept] = True
    return mask[: k * n].reshape(k, n), mask[k * n :].reshape(k, d)


def magnitude_scores(factors: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of MagTruncSVD: the elements' absolute values."""
    return factors.u.abs(), factors.v.abs()
