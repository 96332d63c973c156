"""Whitened SVD: the columns of a delta in the order in which they matter to the answers.

G^½ ΔW A^½ = P S Qᵀ, U = G^-½ P √S, V = A^-½ Q √S, so that U Vᵀ = ΔW, and leaving out column k
costs S_k² in tr(G E A Eᵀ). Of wide layers only the leading columns are computed (`leading`). A
delta that is a product B A has no more columns than that, and they are found without a root of G or
of A.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from osd_edge.exporters.methods.osd_rd.feedback import Metric, metric_of
from osd_edge.exporters.methods.osd_rd.leading import leading_columns
from osd_edge.exporters.methods.osd_rd.moments import Moment, Sketch, times
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.models.low_rank import SVD, LowRank, svd

WIDE = 1024  # a layer with this many inputs and outputs, or more, is never decomposed in full
MAX_COLUMNS = 256  # of a layer; at any budget where this method makes sense many more are zero


class LayerMetric(Protocol):
    """A metric, in memory or in a file."""

    @property
    def mean(self) -> float:
        """The geometric mean of its eigenvalues."""
        ...

    def load(self) -> Metric:
        """The metric itself."""
        ...


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
    metric_u: LayerMetric | None = None
    metric_v: LayerMetric | None = None


def roots(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """M^½ and M^-½ of a symmetric positive definite matrix `[n, n]`."""
    values, vectors = torch.linalg.eigh(matrix)
    scale = values.clamp_min(values[-1] * 1e-7).sqrt()
    return (vectors * scale) @ vectors.T, (vectors / scale) @ vectors.T


def whitened_svd(delta: torch.Tensor | LowRank, statistics: Statistics) -> Columns:
    """Whitened columns of ΔW `[n, d]`, those that are zero left out."""
    g, a = statistics.g, statistics.a
    metric_u = None if g is None or a is None else metric_of(g)
    metric_v = None if g is None or a is None else metric_of(a)
    if isinstance(delta, LowRank):
        u, v, s = _columns_of_product(delta, g, a)
    elif min(delta.shape) >= WIDE or isinstance(g, Sketch) or isinstance(a, Sketch):
        u, v, s = leading_columns(delta, g, a, MAX_COLUMNS)
    else:
        u, v, s = _all_columns(delta, g, a)
    return Columns(u.contiguous(), v.contiguous(), s, statistics.weight, metric_u, metric_v)


def _all_columns(
    delta: torch.Tensor, g: torch.Tensor | None, a: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U `[k, n]`, V `[k, d]` and S `[k]`, from the whole decomposition."""
    white = delta
    if g is not None and a is not None:
        root_g, inverse_g = roots(g)
        root_a, inverse_a = roots(a)
        white = root_g @ delta @ root_a
    left, right, s = _columns(*svd(white))
    if g is not None and a is not None:
        left, right = left @ inverse_g, right @ inverse_a
    return left, right, s


def _columns_of_product(
    delta: LowRank, g: Moment, a: Moment
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U `[k, n]`, V `[k, d]` and S `[k]` of ΔW = B A, in the space of B's columns and A's rows.

    With L = B and R the product's other factor, Lᵀ G L = X D² Xᵀ and R A Rᵀ = Y E² Yᵀ, the small
    D Xᵀ Y E = P S Qᵀ has the singular values of G^½ ΔW A^½, and U = L X D⁻¹ P √S,
    V = Rᵀ Y E⁻¹ Q √S.
    """
    left, right = delta.b.T, delta.a
    x, x_inverse = _rooted(left, times(left, g))
    y, y_inverse = _rooted(right, times(right, a))
    p, s, qt = torch.linalg.svd(x.T @ y, full_matrices=False)
    k = min(MAX_COLUMNS, int((s > s[0] * 1e-6).sum()))
    p, s, q = p[:, :k], s[:k], qt[:k].T
    u = (x_inverse @ p * s.sqrt()).T.float() @ left
    v = (y_inverse @ q * s.sqrt()).T.float() @ right
    signs = u.gather(1, u.abs().argmax(1, keepdim=True)).sign()
    return signs * u, signs * v, s.float()


def _rooted(rows: torch.Tensor, weighted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """X D and X D⁻¹ `[r, k]`, in double precision, of rows · weightedᵀ = X D² Xᵀ `[r, r]`."""
    squared = rows.double() @ weighted.double().T
    values, vectors = torch.linalg.eigh((squared + squared.T) / 2)
    kept = values > values[-1] * 1e-12
    root = values[kept].sqrt()
    return vectors[:, kept] * root, vectors[:, kept] / root


def _columns(p: torch.Tensor, s: torch.Tensor, qt: torch.Tensor) -> SVD:
    """U `[k, n]`, V `[k, d]` and S `[k]` of a decomposition, those that are zero left out."""
    k = min(MAX_COLUMNS, int((s > s[0] * 1e-6).sum()))
    p, s, qt = p[:, :k], s[:k], qt[:k]
    # Signs are fixed (the largest element of each column of P is positive): equal deltas give
    # equal factors.
    signs = p.gather(0, p.abs().argmax(0, keepdim=True))[0].sign()
    return (p * (signs * s.sqrt())).T, qt * (signs * s.sqrt())[:, None], s
