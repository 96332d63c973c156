"""Stacks the factors of several tasks row by row, so that one pass of the graph serves them all.

The graph takes factors `[t, d, k]` and `[t, k, n]` with t the batch. Ranks differ between tasks: a
site's factors are filled up with zeros to the largest, and are all zeros for a row whose task
leaves the site as it is. Neither changes what the row computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.runtime.task import DecodedTask

Array = NDArray[Any]
Rows = tuple[DecodedTask | None, ...]  # the task of each row, None for the base alone


@dataclass(frozen=True)
class Stack:
    """Factors for `rows`, as graph inputs, all of them views of one array of `nbytes`."""

    rows: Rows
    feeds: Mapping[str, Array]
    nbytes: int

    def serves(self, rows: Rows) -> bool:
        """Says whether these are the very rows it was made for."""
        return len(rows) == len(self.rows) and all(
            ours is theirs for ours, theirs in zip(self.rows, rows, strict=True)
        )


def stack(rows: Rows) -> Stack:
    """Stacks the factors of `rows`; those of a single task are taken as they are."""
    first = rows[0]
    if all(row is first for row in rows):
        return Stack(rows, {} if first is None else first.feeds, 0)
    shapes: dict[str, tuple[int, ...]] = {}
    dtype = np.dtype(np.float32)
    for task in {id(row): row for row in rows if row is not None}.values():
        for name, factor in task.feeds.items():
            known = shapes.get(name, factor.shape[1:])
            shapes[name] = tuple(map(max, known, factor.shape[1:]))
            dtype = factor.dtype
    sizes = {name: len(rows) * a * b for name, (a, b) in shapes.items()}
    arena = np.zeros(sum(sizes.values()), dtype)
    feeds: dict[str, Array] = {}
    at = 0
    for name, (a, b) in shapes.items():
        feeds[name] = arena[at : at + sizes[name]].reshape(len(rows), a, b)
        at += sizes[name]
    for i, row in enumerate(rows):
        if row is not None:
            for name, factor in row.feeds.items():
                feeds[name][i, : factor.shape[1], : factor.shape[2]] = factor[0]
    return Stack(rows, feeds, arena.nbytes)
