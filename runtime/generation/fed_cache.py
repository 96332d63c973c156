"""A key cache for graphs that give past and new keys together, to be fed back as the past.

Columns `[rows, heads, columns, size]` are all that a row was padded with, too: the mask tells which
of them are tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
        new = first >= len(self.lengths)
        block = self._empty(len(tokens)) if new else self._blocks[-1]
        ids, mask = padded(tokens)
        block, logits = self._run(block, ids, mask, factors)
        if new:
            self._blocks = (*self._blocks, block)
            self.lengths += [len(own) for own in tokens]
        else:
            assert len(tokens) == 1
            self._blocks = (*self._blocks[:-1], block)
            self.lengths[first] += len(tokens[0])
        return logits

    def step(self, tokens: Sequence[int], factors: Arrays) -> Floats:
        """Runs a token of each row, all of them in one block from the first step on."""
        ids = np.array(tokens, np.int64)[:, None]
        block, logits = self._run(self._joined(), ids, np.ones_like(ids), factors)
        self._blocks = (block,)
        self.lengths = [length + 1 for length in self.lengths]
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Copies the rows that stay, without columns that none of them has."""
        block, of = self._joined(), list(rows)
        there = block.mask[of].any(axis=0)
        keys = [np.ascontiguousarray(own[of][:, :, there]) for own in block.keys]
        self._blocks = (_Block(block.mask[of][:, there], keys),)
        self.lengths = [self.lengths[row] for row in rows]

    def forget(self, first: int) -> None:
        """Forgets the last block, which has these rows."""
        if first < len(self.lengths):
            del self.lengths[first:]
            self._blocks = self._blocks[:-1]

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
        return np.concatenate(self._joined().keys)

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

    def _joined(self) -> _Block:
        """All rows as one block, of as many columns as the widest has."""
        if len(self._blocks) > 1:
            width = max(block.mask.shape[1] for block in self._blocks)
            wide = [_widened(block, width) for block in self._blocks]
            keys = [
                np.concatenate(own) for own in zip(*(block.keys for block in wide), strict=True)
            ]
            self._blocks = (_Block(np.concatenate([block.mask for block in wide]), keys),)
        return self._blocks[0]

    def _empty(self, rows: int) -> _Block:
        facts = self.facts
        none = np.zeros((rows, facts.heads, 0, facts.head_size), np.float32)
        return _Block(np.zeros((rows, 0), np.int64), [none] * len(facts.past))


def _widened(block: _Block, width: int) -> _Block:
    more = width - block.mask.shape[1]
    return _Block(
        np.pad(block.mask, ((0, 0), (0, more))),
        [np.pad(own, ((0, 0), (0, 0), (0, more), (0, 0))) for own in block.keys],
    )
