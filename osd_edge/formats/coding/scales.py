"""Positive scales in one byte: a grid of 16 steps to the octave, so at most 2.2 % off.

Scale i of the grid is 2^(i/16), that is 2^⌊i/16⌋ times one of 16 float32 numbers in [1, 2): a
product that is exact, so every reader has the same bits. A group of scales is stored as its
largest i (16 bits) and, for each, how far it lies below: 0 … 255, almost 16 octaves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 16  # to the octave
LARGEST = 64 * STEPS  # 2⁶⁴: neither infinity nor a subnormal ever comes of a scale
DEEPEST = 255  # steps below the largest of a group
_STEPS_OF_OCTAVE = (2.0 ** (np.arange(STEPS) / STEPS)).astype(np.float32)


def scale_indices(scales: NDArray[Any]) -> NDArray[np.int64]:
    """Finds the grid indices of positive `scales`, the nearest where one is between two."""
    indices = np.rint(STEPS * np.log2(scales.astype(np.float64))).astype(np.int64)
    indices = np.clip(indices, DEEPEST - LARGEST, LARGEST)
    lowest = indices.max(initial=DEEPEST - LARGEST) - DEEPEST
    result: NDArray[np.int64] = np.maximum(indices, lowest)
    return result


def scale_values(indices: NDArray[Any]) -> NDArray[np.float32]:
    """Gives the float32 scales of these grid indices; exact."""
    octave, step = np.divmod(indices, STEPS)
    values: NDArray[np.float32] = np.ldexp(_STEPS_OF_OCTAVE[step], octave.astype(np.int32))
    return values


def snap_scales(scales: NDArray[Any]) -> NDArray[np.float32]:
    """Rounds positive `scales` to the nearest of the grid, float32, which is what a reader gives.

    All scales of one group are needed, since those more than 15.9 octaves below the largest are
    raised. Raises ValueError where a scale is not a positive number.
    """
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ValueError("expected positive scales: turn the sign of a factor instead")
    return scale_values(scale_indices(scales))
