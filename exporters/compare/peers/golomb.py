"""Golomb coding of gaps, vectorised: the parts of all codewords stand apart, by kind.

A gap g = q M + r is q in unary (q ones, then a zero) and r in truncated binary of b or b - 1
bits, b = ⌈log₂ M⌉ (Golomb 1966; the best M of a geometric law: Gallager and van Voorhis 1975).
All unary parts come first, then the first b - 1 bits of each r, then the last bits of those
that have one: as many bits as codeword by codeword, and numpy reads it without a loop.
"""

import math

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def best_parameter(gaps: Int64Array) -> int:
    """The M for gaps of this mean: the smallest with ρ^M + ρ^(M+1) ≤ 1, ρ = mean / (mean + 1)."""
    mean = float(gaps.mean()) if gaps.size else 0.0
    if mean == 0:
        return 1
    rho = mean / (mean + 1)
    return max(1, math.ceil(-math.log1p(rho) / math.log(rho)))


def encode(gaps: Int64Array, m: int) -> Bytes:
    """Code `gaps` (0 or more) with parameter `m`; high bits first, zero bits at the end."""
    quotients, rest = gaps // m, gaps % m
    unary = np.ones(int(quotients.sum()) + gaps.size, np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 0
    width, cutoff = _truncated(m)
    if m == 1:
        return np.packbits(unary)
    long = rest >= cutoff
    codes = np.where(long, rest + cutoff, rest)  # b bits where long, else b - 1
    prefix = _to_bits(np.where(long, codes >> 1, codes), width - 1)
    last = (codes[long] & 1).astype(np.uint8)
    return np.packbits(np.concatenate([unary, prefix, last]))


def decode(data: Bytes, count: int, m: int) -> Int64Array:
    """The `count` gaps of `encode`; raises ValueError where there are fewer."""
    bits = np.unpackbits(data)
    zeros = np.flatnonzero(bits == 0)[:count]
    if zeros.size < count:
        raise ValueError(f"expected {count} gaps, found {zeros.size}")
    quotients = np.diff(zeros, prepend=-1) - 1
    if m == 1 or count == 0:
        return quotients
    bits = bits[int(zeros[-1]) + 1 :]
    width, cutoff = _truncated(m)
    prefix = _from_bits(bits[: count * (width - 1)], count, width - 1)
    bits = bits[count * (width - 1) :]
    long = prefix >= cutoff
    last = bits[: int(long.sum())]
    if last.size < int(long.sum()):
        raise ValueError("the code ends early")
    rest = prefix.copy()
    rest[long] = 2 * prefix[long] + last - cutoff
    return quotients * m + rest


def _truncated(m: int) -> tuple[int, int]:
    """Bits b of a remainder, and how many remainders take one bit less."""
    width = (m - 1).bit_length()
    return width, 2**width - m


def _to_bits(values: Int64Array, width: int) -> Bytes:
    shifts = np.arange(width - 1, -1, -1)
    return (values[:, None] >> shifts & 1).astype(np.uint8).reshape(-1)


def _from_bits(bits: Bytes, count: int, width: int) -> Int64Array:
    if bits.size < count * width:
        raise ValueError("the code ends early")
    weights = 1 << np.arange(width - 1, -1, -1)
    values: Int64Array = bits.reshape(count, width).astype(np.int64) @ weights
    return values
