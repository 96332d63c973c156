"""Whitened SVD: the columns of a delta in the order in which they matter to the answers.

G^½ ΔW A^½ = P S Qᵀ, U = G^-½ P √S, V = A^-½ Q √S, so that U Vᵀ = ΔW, and leaving out column k
costs S_k² in tr(G E A Eᵀ).
"""

from dataclasses import dataclass

import torch

from osd_edge.exporters.rd.feedback import Metric, metric_of
from osd_edge.exporters.rd.statistics import Statistics

MAX_COLUMNS = 256  # of a layer; at any budget where this method makes sense many more are zero


@dataclass(frozen=True)
class Columns:
    """Whitened factors of a layer: `u` `[k, n]`, `v` `[k, d]`, `singular` `[k]`, largest first.

    `weight` is the layer's, of its statistics; `metric_u` and `metric_v` are G and A, None
    without calibration data.
    """

    u: torch.Tensor
    v: torch.Tensor
    singular: torch.Tensor
    weight: float
    metric_u: Metric | None = None
    metric_v: Metric | None = None


def roots(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """M^½ and M^-½ of a symmetric positive definite matrix `[n, n]`."""
    values, vectors = torch.linalg.eigh(matrix)
    scale = values.clamp_min(values[-1] * 1e-7).sqrt()
    return (vectors * scale) @ vectors.T, (vectors / scale) @ vectors.T


def whitened_svd(delta: torch.Tensor, statistics: Statistics) -> Columns:
    """Whitened columns of ΔW `[n, d]`, those that are zero left out."""
    white, metric_u, metric_v = delta, None, None
    if statistics.g is not None and statistics.a is not None:
        root_g, inverse_g = roots(statistics.g)
        root_a, inverse_a = roots(statistics.a)
        white = root_g @ delta @ root_a
        metric_u, metric_v = metric_of(statistics.g), metric_of(statistics.a)
    p, s, qt = torch.linalg.svd(white, full_matrices=False)
    k = min(MAX_COLUMNS, int((s > s[0] * 1e-6).sum()))
    p, s, qt = p[:, :k], s[:k], qt[:k]
    # Signs are fixed (the largest element of each column of P is positive): equal deltas give
    # equal factors.
    signs = p.gather(0, p.abs().argmax(0, keepdim=True))[0].sign()
    left, right = (p * (signs * s.sqrt())).T, qt * (signs * s.sqrt())[:, None]
    if statistics.g is not None:
        left, right = left @ inverse_g, right @ inverse_a
    return Columns(left.contiguous(), right.contiguous(), s, statistics.weight, metric_u, metric_v)
