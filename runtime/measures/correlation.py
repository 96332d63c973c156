"""Correlation of numbers with the right ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def correlations(given: ArrayLike, right: ArrayLike) -> dict[str, float | None]:
    """Pearson's and Spearman's correlation of `[rows]` numbers; None where all of one are alike.

    >>> correlations([1, 2, 4], [1, 2, 3])["spearman"]
    1.0
    """
    ours, theirs = (np.asarray(x, np.float64) for x in (given, right))
    return {
        "pearson": _pearson(ours, theirs),
        "spearman": _pearson(_ranks(ours), _ranks(theirs)),
    }


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / size, -1, 1)) if size > 0 else None


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each number, from 1; of equal ones, their average."""
    _, groups, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[groups]
    return ranks
