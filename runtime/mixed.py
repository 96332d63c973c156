"""A batch in which every row has its own task: factors stacked row by row, heads task by task.

The graph takes factors `[t, d, k]` and `[t, k, n]` with t the batch, so one pass serves all rows.
Ranks differ between tasks: a site's factors are filled up with zeros to the largest, and are all
zeros for a row whose task leaves the site as it is. Neither changes what the row computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.heads import Floats, apply_head
from osd_edge.runtime.task import DecodedTask

Array = NDArray[Any]
Rows = tuple[DecodedTask | None, ...]


@dataclass(frozen=True)
class Stack:
    """Factors for `rows`, as graph inputs, all of them views of one array of `nbytes`."""

    rows: Rows
    feeds: Mapping[str, Array]
    nbytes: int

    def serves(self, rows: Rows) -> bool:
        """Whether these are the very rows it was made for."""
        return len(rows) == len(self.rows) and all(
            ours is theirs for ours, theirs in zip(self.rows, rows, strict=True)
        )


def stack(rows: Rows) -> Stack:
    """What to feed for a batch of `rows`; all rows of one task take its factors as they are."""
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


def task_by_task(
    rows: Rows,
    inputs: Mapping[str, Array],
    forward: Callable[[Mapping[str, Array], Mapping[str, Array]], tuple[Floats, Floats | None]],
) -> tuple[Floats, Floats | None]:
    """Hidden states and pooler output of all rows, by a pass of `forward` for each task."""
    parts = []
    for of, task in _groups(rows):
        given = {name: array[of] for name, array in inputs.items()}
        parts.append((of, *forward(given, {} if task is None else task.feeds)))
    back = np.argsort([row for of, *_ in parts for row in of])
    hidden: Floats = np.concatenate([part for _, part, _ in parts])[back]
    own = [part for *_, part in parts if part is not None]
    pooled: Floats | None = np.concatenate(own)[back] if own else None
    return hidden, pooled


def row_logits(
    rows: Rows, hidden: Floats, mask: NDArray[Any] | None, pooled: Floats | None
) -> list[Floats | None]:
    """The logits of each row by its own task's head, of whatever kind; None without a task."""
    logits: list[Floats | None] = [None] * len(rows)
    for of, task in _groups(rows):
        if task is None:
            continue
        part = None if pooled is None else pooled[of]
        there = None if mask is None else mask[of]
        found = apply_head(task.head, hidden[of], there, part)
        for row, own in zip(of, found, strict=True):
            logits[row] = own
    return logits


def _groups(rows: Rows) -> Sequence[tuple[list[int], DecodedTask | None]]:
    """The rows of each task, and those of the base alone."""
    groups: dict[int, tuple[list[int], DecodedTask | None]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(id(row), ([], row))[0].append(i)
    return list(groups.values())
