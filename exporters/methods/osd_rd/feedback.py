"""Rounding errors that make up for each other, in a metric where directions differ.

A column x is quantised element by element; the error of each is passed on to those that are still
to come, so that what remains, e = x − q, lies where the metric H counts least: eᵀ H e is then
about the geometric mean of H's eigenvalues instead of their arithmetic mean, for the same number
of levels. With R the upper Cholesky factor of H⁻¹ = Rᵀ R, element j's error over R_jj times row j
of R is the least-squares correction of the rest (GPTQ, arXiv 2210.17323; sequential rounding in a
lattice, Babai 1986).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.exporters.methods.osd_rd.moments import EXACT, Sketch, part
from osd_edge.exporters.methods.stored.latents import ROUNDING

# Share of an error that is passed on. All of it trusts the metric, an estimate, too far.
PASSED_ON = 0.85
WIDEST_PART = 2048
_BLOCK = 64  # elements after which the rest of the row is corrected in one product


@dataclass(frozen=True)
class Part:
    """Elements of a row that pass errors on to one another.

    `order` has their slots as they are taken, those that count most first; `upper` is R in that
    order.
    """

    order: torch.Tensor
    upper: torch.Tensor


@dataclass(frozen=True)
class Metric:
    """H `[n, n]` ready for rounding; `mean` is the geometric mean of its eigenvalues.

    A wide H is cut into `parts`, between which no error is passed on.
    """

    parts: tuple[Part, ...]
    mean: float

    def load(self) -> "Metric":
        """Gives itself, since the metric is in memory."""
        return self


def metric_of(h: "torch.Tensor | Sketch") -> Metric:
    """The metric of a symmetric positive definite H `[n, n]`."""
    n = len(h)
    count = 1 if n <= EXACT else -(-n // WIDEST_PART)
    bounds = [n * i // count for i in range(count + 1)]
    made = [_part(part(h, a, b), a) for a, b in pairwise(bounds)]
    logs = torch.cat([logs for _, logs in made])
    return Metric(tuple(of_part for of_part, _ in made), float(logs.mean().mul(-2).exp()))


def _part(h: torch.Tensor, start: int) -> tuple[Part, torch.Tensor]:
    """H of one part, which begins at `start`; and the logarithms of R's diagonal."""
    order = h.diagonal().argsort(descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h[order][:, order].double()))
    upper = torch.linalg.cholesky(inverse, upper=True)
    return Part(order + start, upper.float()), upper.diagonal().log()


def shaped(x: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Rows `x` `[k, n]`, in steps of the quantiser, moved so that rounding them alone does it.

    `quantize` of the result has the errors that this module is about.
    """
    result = torch.empty_like(x)
    for of_part in metric.parts:
        result[:, of_part.order] = torch.from_numpy(_shaped_part(x, of_part))
    return result


def _shaped_part(x: torch.Tensor, of_part: Part) -> NDArray[np.float32]:
    rows = x[:, of_part.order].numpy().copy()
    upper = of_part.upper.numpy()
    diagonal = upper.diagonal().copy()
    for start in range(0, rows.shape[1], _BLOCK):
        end = min(start + _BLOCK, rows.shape[1])
        errors = np.zeros((len(rows), end - start), np.float32)
        for j in range(start, end):
            value = rows[:, j]
            # `quantize`, without a tensor for each of the many small steps
            level = np.sign(value) * np.floor(np.abs(value) + ROUNDING)
            error = (value - level) * (PASSED_ON / diagonal[j])
            errors[:, j - start] = error
            if j + 1 < end:
                rows[:, j + 1 : end] -= error[:, None] * upper[j, j + 1 : end]
        rows[:, end:] -= errors @ upper[start:end, end:]
    result: NDArray[np.float32] = rows
    return result
