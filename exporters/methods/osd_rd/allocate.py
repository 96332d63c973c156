"""One step size for everything: how the bits of a budget are shared out.

A column k of a layer of weight w is quantised with the step δ = Δ / √(S_k w h), where h is the
geometric mean of the eigenvalues of G for U and of A for V: what an error of that step costs once
errors are passed on (`feedback`). A full matrix (a small head layer) has Δ / √w. Δ is the only
number searched: columns that become zero vanish, so ranks and the split between layers choose
themselves.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.methods.osd_rd.feedback import shaped
from osd_edge.exporters.methods.osd_rd.whitening import Columns
from osd_edge.exporters.methods.stored.latents import ROUNDING, Latent, nonzero_columns

T = TypeVar("T")

COARSER = 1.001  # than the step above which nothing is left: sure to leave nothing
_FINER = 0.999  # sure to leave something
_COARSEST_HEAD = 1.0  # of a head's root mean square: the head of a task cannot be left out


def columns_at(columns: Columns, step: float, *, feedback: bool = True) -> Latent:
    """A layer at the global step Δ; columns that become zero are not in it.

    Without `feedback` each element is rounded for itself: near in size, and much faster.
    """
    delta_u, delta_v = (step / scale for scale in _scales(columns))
    least = 1 - ROUNDING
    alive = (columns.u.abs().amax(1) >= least * delta_u) & (
        columns.v.abs().amax(1) >= least * delta_v
    )
    delta_u, delta_v = delta_u[alive], delta_v[alive]
    u, v = columns.u[alive] / delta_u[:, None], columns.v[alive] / delta_v[:, None]
    if feedback and columns.metric_u is not None and columns.metric_v is not None and len(u):
        u, v = shaped(u, columns.metric_u.load()), shaped(v, columns.metric_v.load())
    return nonzero_columns(Latent(u, v, delta_u * delta_v))


def head_columns_at(columns: Columns, step: float, *, feedback: bool = True) -> Latent:
    """A head's layer at the global step Δ; one column always stays, since a task needs its head."""
    finest = min(step, _FINER * coarsest_step({"": columns}))
    latent = columns_at(columns, finest, feedback=feedback)
    # The last column left may be rounded away with the errors of its neighbours, never for itself.
    return latent if len(latent.scale) else columns_at(columns, finest, feedback=False)


def matrix_at(matrix: torch.Tensor, weight: float, step: float) -> Latent:
    """A full matrix `[n, d]` of a layer of this weight at the global step Δ."""
    delta = min(step, coarsest_of_matrix(matrix, weight)) / math.sqrt(weight) or 1.0
    return Latent(matrix / delta, None, matrix.new_full((len(matrix),), delta))


def coarsest_of_matrix(matrix: torch.Tensor, weight: float) -> float:
    """The Δ above which a full matrix is no coarser any more: a task cannot do without it."""
    return _COARSEST_HEAD * float(matrix.square().mean().sqrt()) * math.sqrt(weight)


def coarsest_step(sites: Mapping[str, Columns]) -> float:
    """The Δ above which no column of any site is left; 1 without sites."""
    return max((_coarsest(c) for c in sites.values() if len(c.singular)), default=1.0)


def finest_within(
    at: Callable[[float], T],
    fits: Callable[[T], bool],
    coarsest: float,
    progress: Progress = silent,
    *,
    octaves: float = 24.0,
    halvings: int = 18,
) -> "tuple[float, T] | None":
    """The smallest Δ at which what `at` gives `fits`, and that; None if `coarsest` does not fit.

    It is searched down to `octaves` below `coarsest`. A coarser Δ takes fewer bytes, but for a
    few: what is returned is sure to fit.
    """
    best = coarsest * COARSER, at(coarsest * COARSER)
    if not fits(best[1]):
        return None
    low, high = -octaves, 0.0
    for _ in progress(range(halvings), "Fitting the step to the budget"):
        middle = (low + high) / 2
        step = coarsest * 2**middle
        latents = at(step)
        if fits(latents):
            high, best = middle, (step, latents)
        else:
            low = middle
    return best


def _scales(columns: Columns) -> tuple[torch.Tensor, torch.Tensor]:
    """√(S w h) `[k]` of U and of V."""
    means = (1.0 if m is None else m.mean for m in (columns.metric_u, columns.metric_v))
    root_u, root_v = ((columns.singular * columns.weight * mean).sqrt() for mean in means)
    return root_u, root_v


def _coarsest(columns: Columns) -> float:
    """The Δ above which every column is all zero in one of the factors."""
    scale_u, scale_v = _scales(columns)
    peaks = torch.minimum(columns.u.abs().amax(1) * scale_u, columns.v.abs().amax(1) * scale_v)
    return float(peaks.max()) / (1 - ROUNDING)
