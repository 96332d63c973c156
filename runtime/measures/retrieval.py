"""Texts found by their vectors: how often a text's own partner is among the nearest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024  # compared at once
AMONG = (1, 10)


def cosines(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row of x `[n, d]` with the same row of y."""
    result: NDArray[np.float64] = (_unit(x) * _unit(y)).sum(1)
    return result


def recalls(
    texts: NDArray[np.float32], partners: NDArray[np.float32], names: Sequence[str]
) -> dict[str, float]:
    """Recall at 1 and 10, and the mean reciprocal rank, by the cosine of vectors `[n, d]`.

    Row i's partner is row i of `partners`, called `names[i]`. Each is looked for among all
    different ones; of partners as near as the right one half stand before it.
    """
    chosen = list({name: row for row, name in reversed(list(enumerate(names)))}.values())
    column = {names[row]: i for i, row in enumerate(chosen)}
    own = np.array([column[name] for name in names])
    among, asked = _unit(partners[chosen]), _unit(texts)
    ranks = []
    for start in range(0, len(asked), _ROWS):
        near = asked[start : start + _ROWS] @ among.T
        right = near[np.arange(len(near)), own[start : start + _ROWS], None]
        ranks.append(1 + (near > right).sum(1) + ((near == right).sum(1) - 1) / 2)
    found = np.concatenate(ranks)
    scores = {f"recall@{k}": float((found <= k).mean()) for k in AMONG}
    return scores | {"mean_reciprocal_rank": float((1 / found).mean())}


def _unit(x: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = np.asarray(x, np.float64)
    size = np.linalg.norm(wide, axis=1, keepdims=True)
    result: NDArray[np.float64] = wide / np.where(size > 0, size, 1)
    return result
