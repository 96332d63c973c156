"""One step size for everything: how the bits of a budget are shared out.

A column k of a layer of weight w is quantised with the step δ = Δ / √(S_k w), U and V alike, and
a full matrix (a small head layer) with Δ / √w. Δ is the only number searched: columns that
become zero vanish, so ranks and the split between layers choose themselves.
"""

import math
from collections.abc import Callable, Mapping

import torch

from osd_edge.exporters.rd.latents import ROUNDING, Latent, Latents
from osd_edge.exporters.rd.whitening import Columns
from osd_edge.progress import Progress, silent

_OCTAVES = 24.0  # from the step that leaves nothing of any column down to the finest one tried
_HALVINGS = 18
COARSER = 1.001  # than the step above which nothing is left: sure to leave nothing
_FINER = 0.999  # sure to leave something
_COARSEST_HEAD = 1.0  # of a head's root mean square: the head of a task cannot be left out


def columns_at(columns: Columns, step: float) -> Latent:
    """A layer at the global step Δ; columns that become zero are not in it."""
    delta = _column_steps(columns, step)
    alive = _peaks(columns) >= (1 - ROUNDING) * delta
    delta = delta[alive]
    u, v = columns.u[alive] / delta[:, None], columns.v[alive] / delta[:, None]
    return Latent(u, v, delta.square())


def head_columns_at(columns: Columns, step: float) -> Latent:
    """The same for a head's layer: a task cannot do without it, so that one column always stays."""
    return columns_at(columns, min(step, _FINER * coarsest_step({"": columns})))


def matrix_at(matrix: torch.Tensor, weight: float, step: float) -> Latent:
    """A full matrix `[n, d]` of a layer of this weight at the global step Δ."""
    rms = float(matrix.square().mean().sqrt())
    delta = min(step / math.sqrt(weight), _COARSEST_HEAD * rms) or 1.0
    return Latent(matrix / delta, None, matrix.new_full((len(matrix),), delta))


def coarsest_step(sites: Mapping[str, Columns]) -> float:
    """The Δ above which no column of any site is left; 1 without sites."""
    return max(
        (
            float((_peaks(c) * (c.singular * c.weight).sqrt()).max()) / (1 - ROUNDING)
            for c in sites.values()
            if len(c.singular)
        ),
        default=1.0,
    )


def finest_within(
    at: Callable[[float], Latents],
    fits: Callable[[Latents], bool],
    coarsest: float,
    progress: Progress = silent,
) -> Latents | None:
    """What `at` gives for the smallest Δ at which it `fits`; None where not even `coarsest` does.

    A coarser Δ takes fewer bytes, but for a few: what is returned is sure to fit.
    """
    best = at(coarsest * COARSER)
    if not fits(best):
        return None
    low, high = -_OCTAVES, 0.0
    for _ in progress(range(_HALVINGS), "Fitting the step to the budget"):
        middle = (low + high) / 2
        latents = at(coarsest * 2**middle)
        if fits(latents):
            high, best = middle, latents
        else:
            low = middle
    return best


def _column_steps(columns: Columns, step: float) -> torch.Tensor:
    return step / (columns.singular * columns.weight).sqrt()


def _peaks(columns: Columns) -> torch.Tensor:
    """The largest magnitude in a column, of the factor in which that is smaller."""
    return torch.minimum(columns.u.abs().amax(1), columns.v.abs().amax(1))
