"""Frequency tables of coded rows: how likely each pattern of small integers is, by class.

A row of integers is cut into groups of four slots. Of each slot the *pattern* says whether it is
0, ±1 or more, so a group has one of 3⁴ = 81 patterns; slot i of the group counts 3ⁱ. Where a slot
is more, a *tail* t = min(|q| - 2, 15) follows. A row's class is one byte, 8·z + g: z sets how many
slots are non-zero, g how many of those are more than 1, and how far they go; 0 means none are.

All frequencies are out of 4096: the 4096 values of a state's lowest 12 bits, its *quantile*, are
dealt out to the symbols, of which each has a range from its *start* on. A pattern that a class has
at all has at least 1 of them. No symbol has more than 4017, so that one takes at least 0.026 bits
and a stream cannot claim slots without end.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

GROUP = 4  # slots
PATTERNS = 81
TAILS = 16
ESCAPE = TAILS - 1  # this tail means that 16 raw bits follow
CLASSES = 256
TOTAL = 4096  # of all frequencies of a table

# Of 1024 slots of a row of zero-class z, this many are non-zero; evenly spaced in log-odds.
NONZERO = (
    *(4, 5, 7, 9, 12, 15, 20, 26, 34, 44, 57, 73, 94, 120, 151, 190),
    *(235, 288, 347, 411, 479, 549, 616, 681, 739, 792, 837, 875, 906, 931, 952, 968),
)
# Of 256 non-zeros of a row of magnitude class g, this many are more than 1.
LARGE = (0, 6, 18, 38, 66, 104, 152, 212)
# Of tails 0 … 15, for g = 1 … 7.
TAIL_FREQUENCIES = np.array(
    (
        (3917, 145, 16, 5, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (3836, 219, 22, 6, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (3715, 324, 36, 8, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (3428, 556, 81, 15, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (2816, 937, 248, 63, 16, 5, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (2121, 1137, 503, 197, 77, 31, 13, 6, 3, 2, 1, 1, 1, 1, 1, 1),
        (1020, 858, 662, 495, 337, 229, 156, 107, 73, 50, 34, 24, 16, 11, 8, 16),
    ),
    np.int64,
)

# Digits of a pattern [81, 4], the first slot first; and how many of its slots are more than 1.
DIGITS: NDArray[np.uint8] = (np.arange(PATTERNS)[:, None] // 3 ** np.arange(GROUP) % 3).astype(
    np.uint8
)


@cache
def pattern_starts() -> NDArray[np.int64]:
    """The first quantile of each pattern by class, `[256, 82]`, the last column being 4096.

    With P(0), P(±1), P(more) in 1024ths, a pattern weighs the product of its slots', and all
    weigh 2⁴⁰. Where A patterns weigh anything, and a(i) of those before i do, start(i) =
    a(i) + ⌊(weight of patterns before i) · (4096 - A) / 2⁴⁰⌋: every number is below 2⁵³.
    """
    nonzero, large = np.repeat(NONZERO, len(LARGE)), np.tile(LARGE, len(NONZERO))
    more = np.where(large > 0, np.maximum(1, (nonzero * large + 128) >> 8), 0)
    chance = np.stack([1024 - nonzero, nonzero - more, more], axis=1).astype(np.int64)
    weight = chance[:, DIGITS].prod(axis=2)
    before = np.zeros((2, CLASSES, PATTERNS + 1), np.int64)
    before[:, :, 1:] = np.cumsum([weight > 0, weight], axis=2)
    some, weighed = before
    starts: NDArray[np.int64] = some + (weighed * (TOTAL - some[:, -1:]) >> 40)
    return starts


@cache
def tail_starts() -> NDArray[np.int64]:
    """The first quantile of each tail for g - 1, `[7, 17]`, the last column being 4096."""
    before = np.zeros((len(TAIL_FREQUENCIES), TAILS + 1), np.int64)
    before[:, 1:] = TAIL_FREQUENCIES.cumsum(axis=1)
    return before


def decode_table(starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Makes the table to decode by, flat, 4096 entries for each row of `starts` `[classes, s + 1]`.

    The entry of a quantile is frequency · 2²⁰ + symbol · 2¹² + quantile - start of its symbol.
    """
    frequency = np.diff(starts, axis=1)
    symbols = np.arange(frequency.shape[1])
    entries = ((frequency << 20) + (symbols << 12) - starts[:, :-1]).astype(np.uint32)
    table = np.repeat(entries.ravel(), frequency.ravel()).reshape(-1, TOTAL)
    table += np.arange(TOTAL, dtype=np.uint32)
    return table.reshape(-1)


@cache
def tail_table() -> NDArray[np.uint32]:
    """The table to decode all tails by: 112 KiB, the same for every stream."""
    return decode_table(tail_starts())


@cache
def pattern_bits() -> NDArray[np.float64]:
    """Bits that each pattern takes in each class, `[256, 81]`; a million where it has none."""
    return _bits(pattern_starts())


@cache
def tail_bits() -> NDArray[np.float64]:
    """Bits that each tail takes for g - 1, `[7, 16]`, an escape's 16 included."""
    bits = _bits(tail_starts())
    bits[:, ESCAPE] += 16
    return bits


def symbol_bits(frequencies: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gives the bits of symbols by frequency, in 65536ths, so that sums are exact in any order."""
    bits = np.rint(65536 * np.log2(TOTAL / np.maximum(frequencies, 1))) / 65536
    result: NDArray[np.float64] = np.where(frequencies > 0, bits, 1e6)
    return result


def _bits(starts: NDArray[np.int64]) -> NDArray[np.float64]:
    return symbol_bits(np.diff(starts, axis=1))
