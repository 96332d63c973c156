"""A range coder of symbols that works in many lanes at once (rANS: Duda, arXiv 1311.2540).

Each lane is a coder of its own, with a state in [2¹⁶, 2³²); all take their 16-bit words from one
stream. Symbol i is in lane i mod L, so a step decodes L symbols with a few numpy calls, whatever
L is. The coder works backwards through the symbols, the decoder forwards.

Lanes would cost 4 bytes each. They are nearly free, because the state that a lane begins to code
from, and the decoder ends with, may be any number: it holds up to 31 bits of other data.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code
from osd_edge.formats.coding.tables import TOTAL

LOWEST = 1 << 16  # of a state
MAX_LANES_LOG2 = 12

# As arrays of no dimensions: a Python number would be looked at anew in every call.
_QUANTILE, _LOWEST = np.array(TOTAL - 1, np.uint32), np.array(LOWEST, np.uint32)
_BITS, _WORD, _FREQUENCY = (np.array(bits, np.uint32) for bits in (12, 16, 20))

Words = NDArray[np.uint32]


class LaneDecoder:
    """Decodes symbols from `states` `[L]` and `words`; `at` counts the words it has taken."""

    def __init__(self, states: NDArray[np.uint32], words: Words) -> None:
        """Begins with both arrays as uint32, the words below 2¹⁶."""
        self.states = states.copy()
        self.at = 0
        self._words = words

    def take(self, table: NDArray[np.uint32], base: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Takes the next symbols, as entries of `table`; symbol i has its table at `base[i]`.

        Raises BundleError `bundle.coded-stream` where the words do not suffice.
        """
        lanes = self.states.size
        entries = np.empty(base.size, np.uint32)
        scratch, frequency = np.empty((2, lanes), np.uint32)
        below = np.empty(lanes, np.bool_)
        words, at, most = self._words, self.at, self._words.size
        x, quantile, f = self.states, scratch, frequency
        for begin in range(0, base.size, lanes):
            entry = entries[begin : begin + lanes]
            if entry.size < lanes:  # the last step
                count = entry.size
                x, quantile, f = x[:count], quantile[:count], f[:count]
                below = below[:count]
            np.bitwise_and(x, _QUANTILE, out=quantile)
            np.add(quantile, base[begin : begin + lanes], out=quantile)
            table.take(quantile, out=entry, mode="clip")
            np.right_shift(entry, _FREQUENCY, out=f)
            np.bitwise_and(entry, _QUANTILE, out=quantile)
            np.right_shift(x, _BITS, out=x)
            np.multiply(x, f, out=x)
            np.add(x, quantile, out=x)
            # Lanes below 2¹⁶ take a word each, in ascending order.
            low = np.less(x, _LOWEST, out=below).nonzero()[0]
            end = at + low.size
            if end > most:
                raise BundleError(Code.BUNDLE_CODED_STREAM, "the coded stream ends too early")
            if end > at:
                x[low] = x[low] << _WORD | words[at:end]
                at = end
        self.at = at
        return entries


def encode_lanes(
    states: NDArray[np.uint64], parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Codes symbols, each given as start and frequency: the decoder's first states, and words.

    `states` is what the decoder ends with. Each of `parts` begins at a fresh step.
    """
    x = states.astype(np.uint64)
    words: list[NDArray[np.uint64]] = []
    for start, frequency in reversed(parts):
        steps = range(0, start.size, x.size)
        for begin in reversed(steps):
            f = frequency[begin : begin + x.size].astype(np.uint64)
            lanes = x[: f.size]
            full = (lanes >= f << np.uint64(20)).nonzero()[0]
            words.append(lanes[full] & np.uint64(0xFFFF))
            lanes[full] >>= np.uint64(16)
            quotient = lanes // f
            lanes += quotient * (np.uint64(TOTAL) - f)
            lanes += start[begin : begin + x.size].astype(np.uint64)
    return x, np.concatenate([np.zeros(0, np.uint64), *reversed(words)])
