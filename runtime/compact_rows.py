"""Moves a batch's tokens to the left, for graphs that only know how many a row has.

The fused attention of a decoder takes the first tokens of each row, as many as its mask says: what
is padding must stand on the right. Causal models give the same hidden states wherever padding is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.manifest import BaseManifest

_Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CompactRows:
    """Feeds whose rows begin with their tokens, and how far each row was moved for that."""

    feeds: _Feeds
    moved: NDArray[np.int64] | None

    @classmethod
    def of(cls, manifest: BaseManifest, feeds: Mapping[str, NDArray[Any]]) -> "CompactRows":
        """Moves rows that are padded on the left, where the graph of `manifest` needs it.

        Raises InputError `input.shape` for rows with padding between tokens, or without a token.
        """
        if manifest.padding != "right":
            return cls({**feeds}, None)
        there = feeds["attention_mask"] != 0
        first = there.argmax(axis=1)
        width = there.shape[1]
        count = there.sum(axis=1)
        last = width - there[:, ::-1].argmax(axis=1)
        if not count.all() or (last - first != count).any():
            raise InputError(
                Code.INPUT_SHAPE,
                "attention_mask: expected ones in each row, all of them beside each other: this "
                "base takes padding on the right or on the left",
            )
        given = {**feeds, "attention_mask": there.astype(np.int64)}  # whose sums are counts
        if not first.any():
            return cls(given, None)
        columns = (np.arange(width) + first[:, None]) % width
        moved = {name: np.take_along_axis(array, columns, 1) for name, array in given.items()}
        return cls(moved, first)

    def back(self, hidden: Floats) -> Floats:
        """A copy of hidden states `[batch, tokens, hidden]`, where the tokens were given."""
        if self.moved is None:
            return hidden.copy()
        width = hidden.shape[1]
        columns = (np.arange(width) - self.moved[:, None]) % width
        return np.take_along_axis(hidden, columns[:, :, None], 1)


def empty_past(manifest: BaseManifest, rows: int) -> _Feeds:
    """The past keys of a run without any, where the graph of `manifest` takes keys."""
    facts = manifest.generation
    if facts is None:
        return {}
    none = np.zeros((rows, facts.heads, 0, facts.head_size), np.float32)
    return dict.fromkeys(facts.past, none)
