"""Rounding errors that make up for each other, in a metric where directions differ.

A column x is quantised element by element; the error of each is passed on to those that are still
to come, so that what remains, e = x − q, lies where the metric H counts least: eᵀ H e is then
about the geometric mean of H's eigenvalues instead of their arithmetic mean, for the same number
of levels. With R the upper Cholesky factor of H⁻¹ = Rᵀ R, element j's error over R_jj times row j
of R is the least-squares correction of the rest (GPTQ, arXiv 2210.17323; sequential rounding in a
lattice, Babai 1986).
"""

from dataclasses import dataclass

import numpy as np
import torch

from osd_edge.exporters.rd.latents import ROUNDING

# Share of an error that is passed on. All of it trusts the metric, an estimate, too far.
PASSED_ON = 0.85
_BLOCK = 64  # elements after which the rest of the row is corrected in one product


@dataclass(frozen=True)
class Metric:
    """H `[n, n]` ready for rounding: `order` the elements are taken in, those that count most
    first; `upper` is R in that order; `mean` the geometric mean of H's eigenvalues.
    """

    order: torch.Tensor
    upper: torch.Tensor
    mean: float


def metric_of(h: torch.Tensor) -> Metric:
    """The metric of a symmetric positive definite H `[n, n]`."""
    order = h.diagonal().argsort(descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h[order][:, order].double()))
    upper = torch.linalg.cholesky(inverse, upper=True)
    mean = float(upper.diagonal().log().mean().mul(-2).exp())
    return Metric(order, upper.float(), mean)


def shaped(x: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Rows `x` `[k, n]`, in steps of the quantiser, moved so that rounding them alone does it.

    `quantize` of the result has the errors that this module is about.
    """
    rows = x[:, metric.order].numpy().copy()
    upper = metric.upper.numpy()
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
    result = torch.empty_like(x)
    result[:, metric.order] = torch.from_numpy(rows)
    return result
