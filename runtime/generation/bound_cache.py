"""A key cache in one buffer, into which the graph writes the new keys beside the old.

Past and present are bound to the same memory: nothing is copied from one token to the next. The
buffer holds `[layers · 2, rows, heads, capacity, size]`, and doubles when a row is full. It
has rows for those that are there: memory that is not written to yet is taken all the same, since
numpy asks for it in pages of 2 MiB.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.heads import Floats
from osd_edge.formats.package.generation import LOGITS
from osd_edge.runtime.generation.key_cache import KeyCache, padded
from osd_edge.runtime.open_base import Arrays, Binding, OpenBase

_LEAST = 64  # tokens that there is room for beyond those that are there


class BoundCache(KeyCache):
    """Keys and values in a buffer that past and present are both bound to."""

    def __init__(self, base: OpenBase, rows: int, most: int) -> None:
        """Begins without keys, with little memory."""
        super().__init__(base, rows, most)
        self._buffer = self._made(0, 0)
        self._step: _Step | None = None

    @property
    def capacity(self) -> int:
        """The most tokens of a row that the buffer has room for."""
        capacity: int = self._buffer.shape[3]
        return capacity

    def fill(self, first: int, tokens: Sequence[Sequence[int]], factors: Arrays) -> Floats:
        """Runs tokens of rows in their part of the buffer."""
        count, longest = len(tokens), max(map(len, tokens))
        before = self.lengths[first] if first < len(self.lengths) else 0
        assert before == 0 or count == 1
        self._reserve(first + count, before + longest)
        ids, mask = padded(tokens)
        if before:
            mask = np.ones((1, before + longest), np.int64)
        logits = np.empty((count, 1, self.facts.vocabulary), np.float32)
        binding = self._bound(first, count, factors)
        binding.input("input_ids", ids)
        binding.input("attention_mask", mask)
        binding.output(LOGITS, logits)
        binding.run()
        self.lengths[first : first + count] = [before + len(own) for own in tokens]
        if self._step is not None and first < self._step.rows:
            self._step = None
        return logits[:, 0]

    def step(self, tokens: Sequence[int], factors: Arrays) -> Floats:
        """Runs a token of each row; what is bound stays so from step to step."""
        count = len(tokens)
        self._reserve(count, max(self.lengths[:count]) + 1)
        step = self._step
        if step is None or step.factors is not factors or step.rows != count:
            step = self._step = _Step(self._bound(0, count, factors), factors, self, count)
        lengths = [length + 1 for length in self.lengths[:count]]
        step.run(tokens, lengths)
        # Once there are keys: a caller's exception may end the run.
        self.lengths[:count] = lengths
        return step.logits[:, 0]

    def keep(self, rows: Sequence[int]) -> None:
        """Moves the rows that stay to the front of the buffer."""
        # Those that are in front stay where they are; the last ones fill the gaps.
        buffer, used = self._buffer, max(self.lengths, default=0)
        for to, row in enumerate(rows):
            if to != row:
                assert row > to
                buffer[:, to, :, :used] = buffer[:, row, :, :used]
        self.lengths = [self.lengths[row] for row in rows]
        self._step = None

    def forget(self, first: int) -> None:
        """Forgets the last rows: others will write over them."""
        del self.lengths[first:]

    def limit(self, most: int) -> None:
        """Makes the buffer smaller where it has room for more."""
        super().limit(most)
        if self.capacity > most:
            self._move(len(self.lengths), most)

    def release(self) -> None:
        """Lets go of what is bound for a step."""
        self._step = None

    def cut(self, length: int) -> None:
        """Forgets the rest: what lies behind a row's length is never read."""
        self.lengths = [min(self.lengths[0], length)] if self.lengths and length else []
        self._step = None

    def state(self) -> Floats:
        """A copy of what the row has."""
        return self._buffer[:, 0, :, : self.lengths[0]].copy()

    def restore(self, state: Floats) -> None:
        """Copies a row's keys into the buffer."""
        length = state.shape[2]
        self._reserve(1, length)
        self._buffer[:, 0, :, :length] = state
        self.lengths = [length]

    def _made(self, rows: int, capacity: int) -> Floats:
        facts = self.facts
        return np.zeros((len(facts.past), rows, facts.heads, capacity, facts.head_size), np.float32)

    def _reserve(self, rows: int, length: int) -> None:
        """Makes room for so many rows, the longest of which has so many tokens."""
        if length > self.capacity:
            self._move(rows, min(self.most, max(length + _LEAST, 2 * self.capacity)))
        elif rows > self._buffer.shape[1]:
            self._move(rows, self.capacity)

    def _move(self, rows: int, capacity: int) -> None:
        """Moves the keys that are there to a buffer of other rows, of another capacity."""
        there, used = len(self.lengths), max(self.lengths, default=0)
        old, self._step = self._buffer, None
        self._buffer = self._made(max(rows, there, self._rows), capacity)
        for to, own in zip(self._buffer, old, strict=True):
            to[:there, :, :used] = own[:there, :, :used]

    def _bound(self, first: int, count: int, factors: Arrays) -> Binding:
        """Binds the keys of rows `first` on, and factors."""
        binding = self.base.binding()
        for name, factor in factors.items():
            binding.input(name, factor)
        of = slice(first, first + count)
        for past, present, buffer in zip(self.past, self.present, self._buffer, strict=True):
            binding.input(past, buffer[of])
            binding.output(present, buffer[of])
        return binding


class _Step:
    """A run of one token of each of the first rows, with ids, mask and logits bound once.

    The mask is as wide as the buffer. With shapes that stay the same from token to token,
    onnxruntime plans memory once, which makes a token 1 to 4 % faster.
    """

    def __init__(self, binding: Binding, factors: Arrays, cache: BoundCache, rows: int) -> None:
        capacity = cache.capacity
        self.factors, self.rows = factors, rows
        self.logits = np.empty((rows, 1, cache.facts.vocabulary), np.float32)
        self._binding = binding
        self._ids = np.zeros((rows, 1), np.int64)
        there = np.arange(capacity) < np.array(cache.lengths[:rows])[:, None]
        self._mask: NDArray[np.int64] = there.astype(np.int64)
        binding.input("input_ids", self._ids)
        binding.input("attention_mask", self._mask)
        binding.output(LOGITS, self.logits)

    def run(self, tokens: Sequence[int], lengths: Sequence[int]) -> None:
        """Runs tokens that make rows as long as `lengths`."""
        self._ids[:, 0] = tokens
        for row, length in enumerate(lengths):
            self._mask[row, length - 1] = 1
        self._binding.run()
