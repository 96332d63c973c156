"""A key cache for graphs that give past and new keys together, to be fed back as the past.

Columns `[rows, heads, columns, size]` are all that a row was padded with, too: the mask tells which
of them are tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BaseError, Code
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.generation import LOGITS
from osd_edge.runtime.generation.key_cache import KeyCache, padded
from osd_edge.runtime.open_base import Arrays


@dataclass
class _Block:
    """Rows that were filled together: their mask `[rows, columns]` and keys, by layer and part."""

    mask: NDArray[np.int64]
    keys: list[Floats]


class FedCache(KeyCache):
    """Keys and values as the graph gave them, which the next run is fed."""

    _blocks: tuple[_Block, ...] = ()

    def fill(self, first: int, tokens: Sequence[Sequence[int]], factors: Arrays) -> Floats:
        """Runs tokens of rows, which become a block of their own."""
        count, there = len(tokens), len(self.lengths)
        new = first == there
        if not new:
            assert count == 1
            self._divide(first, there - first)
        block = self._empty(count) if new else self._blocks[-1]
        ids, mask = padded(tokens)
        block, logits = self._run(block, ids, mask, factors)
        before = 0 if new else self.lengths[first]
        self._blocks = (*(self._blocks if new else self._blocks[:-1]), block)
        self.lengths[first : first + count] = [before + len(own) for own in tokens]
        return logits

    def step(self, tokens: Sequence[int], factors: Arrays) -> Floats:
        """Runs a token of each row, all of them in one block from the first step on."""
        count = len(tokens)
        self._divide(count, len(self.lengths) - count)
        ids = np.array(tokens, np.int64)[:, None]
        block, logits = self._run(self._blocks[0], ids, np.ones_like(ids), factors)
        self._blocks = (block, *self._blocks[1:])
        self.lengths[:count] = [length + 1 for length in self.lengths[:count]]
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Copies the rows that stay, without the columns of the others."""
        found = self._row_by_row()
        self._blocks = (_joined([found[row] for row in rows]),) if rows else ()
        self.lengths = [self.lengths[row] for row in rows]

    def forget(self, first: int) -> None:
        """Forgets the last rows, which become a block of their own before."""
        if first < len(self.lengths):
            self._divide(first, len(self.lengths) - first)
            self._blocks = self._blocks[:-1]
            del self.lengths[first:]

    def cut(self, length: int) -> None:
        """Copies what stays."""
        if not self.lengths or not length:
            self._blocks, self.lengths = (), []
            return
        if length >= self.lengths[0]:
            return
        (block,) = self._blocks
        keys = [own[:, :, :length].copy() for own in block.keys]
        self._blocks = (_Block(block.mask[:, :length], keys),)
        self.lengths = [length]

    def state(self) -> Floats:
        """A copy of what the row has."""
        self._divide(1)
        return np.concatenate(self._blocks[0].keys)

    def restore(self, state: Floats) -> None:
        """Takes a row's keys."""
        length = state.shape[2]
        keys = [np.ascontiguousarray(own[None]) for own in state]
        self._blocks, self.lengths = (_Block(np.ones((1, length), np.int64), keys),), [length]

    def _run(
        self, block: _Block, ids: NDArray[np.int64], mask: NDArray[np.int64], factors: Arrays
    ) -> tuple[_Block, Floats]:
        mask = np.concatenate((block.mask, mask), axis=1)
        past = dict(zip(self.past, block.keys, strict=True))
        feeds: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "attention_mask": mask,
            **past,
            **factors,
        }
        logits, *keys = self.base.results((LOGITS, *self.present), feeds)
        if logits.shape != (len(ids), 1, self.facts.vocabulary):
            raise BaseError(Code.BASE_GRAPH, "the graph's logits are not of the shape it declares")
        return _Block(mask, keys), logits[:, 0]

    def _divide(self, *counts: int) -> None:
        """Makes blocks of so many rows each, of which none may be left without any."""
        wanted = [count for count in counts if count]
        if [len(block.mask) for block in self._blocks] == wanted:
            return
        found = iter(self._row_by_row())
        self._blocks = tuple(_joined(list(islice(found, count))) for count in wanted)

    def _row_by_row(self) -> list[tuple[_Block, int]]:
        """The block of each row, and its number there."""
        return [(block, row) for block in self._blocks for row in range(len(block.mask))]

    def _empty(self, rows: int) -> _Block:
        facts = self.facts
        none = np.zeros((rows, facts.heads, 0, facts.head_size), np.float32)
        return _Block(np.zeros((rows, 0), np.int64), [none] * len(facts.past))


def _joined(rows: Sequence[tuple[_Block, int]]) -> _Block:
    """Copies rows into one block, each without the columns that it was padded with."""
    there = [block.mask[row] == 1 for block, row in rows]
    lengths = [int(own.sum()) for own in there]
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    keys = []
    for part, some in enumerate(rows[0][0].keys):
        _, heads, _, size = some.shape
        made = np.zeros((len(rows), heads, max(lengths), size), np.float32)
        for to, (block, row) in enumerate(rows):
            made[to, :, : lengths[to]] = block.keys[part][row][:, there[to]]
        keys.append(made)
    return _Block(mask, keys)
