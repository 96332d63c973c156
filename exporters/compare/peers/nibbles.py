"""4-bit integers: rows scaled to ±7 at the least squared error, two values a byte."""

import numpy as np
from numpy.typing import NDArray

_CLIPS = np.linspace(0.4, 1.0, 25, dtype=np.float32)  # of a row's peak, that becomes 7


def code_rows(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers -7 to 7 `[rows, width]` and one scale a row.

    A row's scale is the best of a grid of clipped peaks: clipping a few values costs less than a
    coarser step for all.
    """
    peak = np.maximum(np.abs(rows).max(axis=1, initial=0), np.finfo(np.float32).tiny)
    best = np.full(len(rows), np.inf, np.float32)
    scale = peak / 7
    for clip in _CLIPS:
        step = peak * clip / 7
        error = np.square(_rounded(rows, step) * step[:, None] - rows).sum(axis=1)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, step, scale)
    return _rounded(rows, scale).astype(np.int8), scale.astype(np.float32)


def pack(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes in order, the first of each byte in its low half; a last half byte is 0.

    >>> pack(np.array([-7, 7, 0], np.int8)).tolist()
    [241, 8]
    """
    flat = (codes.reshape(-1) + 8).astype(np.uint8)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    low, high = flat[::2], flat[1::2]
    return np.bitwise_or(low, np.left_shift(high, 4), dtype=np.uint8)


def unpack(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """The first `count` codes."""
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count]
    return halves.astype(np.int8) - 8


def _rounded(rows: NDArray[np.float32], step: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = np.clip(np.rint(rows / step[:, None]), -7, 7)
    return rounded
