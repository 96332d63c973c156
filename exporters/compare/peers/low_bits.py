"""Values in a few bits: groups of a row, each with a scale, of 2, 4, 8, … evenly spaced levels.

A value is (c − (L − 1) / 2) s with c of 0 to L − 1, L = 2^bits: with one bit a sign, with two
±0.5 s and ±1.5 s. Scales are fp16, in units of one fp32 number for a matrix, so that none is too
small for fp16; codes are packed bit by bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CLIPS = np.linspace(0.15, 1.0, 35, dtype=np.float32)  # of a group's peak, that the last level is
_ROUNDS = 3  # of fitting the scale to the codes, and the codes to the scale


@dataclass(frozen=True)
class FewBits:
    """Rows `[k, width]` as codes, scales `[k, groups]` and the unit of the scales."""

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    unit: float
    bits: int
    group: int

    def values(self) -> Floats:
        """The rows that they stand for."""
        width = self.codes.shape[1]
        steps = (self.scales.astype(np.float32) * np.float32(self.unit)).repeat(self.group, axis=1)
        values: Floats = _centred(self.codes, self.bits) * steps[:, :width]
        return values


def rounded(rows: Floats, bits: int, group: int) -> FewBits:
    """The codes of `rows` `[k, width]`, with the scales of least squared error.

    Clipping a few large values costs less than a coarser step for all: several peaks are tried,
    and the best is fitted to its codes by least squares.
    """
    k, width = rows.shape
    groups = -(-width // group)
    padded = np.zeros((k, groups * group), np.float32)
    padded[:, :width] = rows
    x = padded.reshape(k * groups, group)
    outermost = (2**bits - 1) / 2
    peak = np.maximum(np.abs(x).max(axis=1, initial=0), np.finfo(np.float32).tiny)
    # What pads a row has no part in its scale.
    inside = (np.arange(groups * group) < width).reshape(1, groups, group)
    inside = np.broadcast_to(inside, (k, groups, group)).reshape(k * groups, group)
    best = np.full(len(x), np.inf, np.float32)
    scale = peak / outermost
    for clip in _CLIPS:
        step = clip * peak / outermost
        left = _centred(_codes(x, step, bits), bits) * step[:, None] - x
        error = (np.square(left) * inside).sum(axis=1)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, step, scale)
    for _ in range(_ROUNDS):
        levels = _centred(_codes(x, scale, bits), bits) * inside
        scale = np.maximum((x * levels).sum(axis=1), 0) / np.square(levels).sum(axis=1)
    unit = float(scale.max(initial=0)) or 1.0
    scales = (scale / np.float32(unit)).astype(np.float16)
    codes = _codes(x, scales.astype(np.float32) * np.float32(unit), bits)
    return FewBits(
        codes.reshape(k, groups * group)[:, :width], scales.reshape(k, groups), unit, bits, group
    )


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes of 0 to 2^bits − 1 in order, high bits first; zero bits at the end.

    >>> pack(np.array([3, 0, 1], np.uint8), 2).tolist()
    [196]
    """
    planes = np.unpackbits(codes.reshape(-1, 1), axis=1)[:, 8 - bits :]
    packed: NDArray[np.uint8] = np.packbits(planes)
    return packed


def unpack(packed: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint8]:
    """The first `count` codes."""
    planes = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    codes: NDArray[np.uint8] = np.right_shift(
        np.packbits(planes, axis=1)[:, 0], 8 - bits, dtype=np.uint8
    )
    return codes


def _codes(x: Floats, step: Floats, bits: int) -> NDArray[np.uint8]:
    """The nearest codes of `x` `[groups, group]`; with a step of 0 any is as near."""
    safe = np.where(step > 0, step, 1)[:, None]
    nearest = np.floor(x / safe + 2 ** (bits - 1))
    codes: NDArray[np.uint8] = np.clip(nearest, 0, 2**bits - 1).astype(np.uint8)
    return codes


def _centred(codes: NDArray[np.uint8], bits: int) -> Floats:
    values: Floats = codes.astype(np.float32) - np.float32((2**bits - 1) / 2)
    return values
