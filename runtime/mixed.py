"""Runs batches in which every row has its own task, or none.

Factors are stacked row by row and go through the graph in one pass; heads are applied task by task.
A base whose graph takes no stacked factors has a pass for each task.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import described
from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.finite import check_hidden
from osd_edge.runtime.inputs import RunInputs, as_list
from osd_edge.runtime.loaded_tasks import LoadedTasks
from osd_edge.runtime.open_base import Arrays, OpenBase
from osd_edge.runtime.output import MixedOutput
from osd_edge.runtime.stacked_factors import Rows, Stack, stack
from osd_edge.runtime.task import DecodedTask

TaskNames = Sequence[str | None] | NDArray[Any]  # of the task of each row, None for the base alone


class MixedBatches:
    """Batches of mixed rows over one base; the factors stacked for the last one are kept.

    Safe to use from many threads: a stack is used whole or not at all.
    """

    def __init__(self, base: OpenBase, tasks: LoadedTasks, cache_bytes: int) -> None:
        """Keeps no stack of more than `cache_bytes`."""
        self._base = base
        self._tasks = tasks
        self._cache_bytes = cache_bytes
        self._stack: Stack | None = None

    def rows(self, names: TaskNames) -> Rows:
        """Finds the task of each row. Raises InputError `input.tasks`, TaskError `task.unknown`."""
        return self._tasks.rows(task_names(names))

    def checked(self, inputs: RunInputs, rows: Rows) -> dict[str, NDArray[Any]]:
        """Checks inputs; raises InputError, `input.tasks` where `rows` are more or fewer."""
        feeds = self._base.checked(inputs)
        check_rows(rows, self._base.batch(feeds))
        return feeds

    def run(self, feeds: Arrays, rows: Rows) -> MixedOutput:
        """Runs checked inputs with the tasks of their rows.

        Raises TaskError `task.not-finite`, BaseError `base.graph`.
        """
        if self._base.manifest.mixed_rows:
            hidden, pooled = self._base.forward(feeds, self._stacked(rows).feeds)
        else:
            hidden, pooled = _task_by_task(rows, feeds, self._base.forward)
        logits = _row_logits(rows, hidden, feeds.get("attention_mask"), pooled)
        names = tuple(None if row is None else row.name for row in rows)
        return MixedOutput(names, hidden, pooled, logits)

    def forget(self) -> None:
        """Lets go of the kept stack, which holds on to its tasks."""
        self._stack = None

    def _stacked(self, rows: Rows) -> Stack:
        stacked = self._stack
        if stacked is None or not stacked.serves(rows):
            stacked = stack(rows)
            self._stack = stacked if stacked.nbytes <= self._cache_bytes else None
        return stacked


def check_rows(rows: Rows, batch: int) -> None:
    """Refuses (`input.tasks`) tasks that are not one for each row of a batch."""
    if len(rows) != batch:
        raise InputError(
            Code.INPUT_TASKS,
            f"expected a list with the task of each of {batch} rows, found {len(rows)}",
        )


def task_names(given: TaskNames) -> Sequence[str | None]:
    """Gives a list or array of tasks' names as a list; refuses (`input.tasks`) a name alone too."""
    names: Sequence[str | None] = as_list(given)
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        raise InputError(
            Code.INPUT_TASKS,
            f"expected a list with the task of each row, found {described(names)}",
        )
    return names


def _task_by_task(
    rows: Rows,
    inputs: Arrays,
    forward: Callable[[Arrays, Arrays], tuple[Floats, Floats | None]],
) -> tuple[Floats, Floats | None]:
    """Runs all rows by a pass of `forward` for each task; hidden states and pooler output."""
    parts = []
    for of, task in _groups(rows):
        given = {name: array[of] for name, array in inputs.items()}
        parts.append((of, *forward(given, {} if task is None else task.feeds)))
    back = np.argsort([row for of, *_ in parts for row in of])
    hidden: Floats = np.concatenate([part for _, part, _ in parts])[back]
    own = [part for *_, part in parts if part is not None]
    pooled: Floats | None = np.concatenate(own)[back] if own else None
    return hidden, pooled


def _row_logits(
    rows: Rows, hidden: Floats, mask: NDArray[Any] | None, pooled: Floats | None
) -> list[Floats | None]:
    """Applies the heads: each row's logits by its own task's, None for the base alone.

    Raises TaskError `task.not-finite` for a row's task, BaseError `base.graph` for a row without.
    """
    logits: list[Floats | None] = [None] * len(rows)
    for of, task in _groups(rows):
        part = None if pooled is None else pooled[of]
        there = None if mask is None else mask[of]
        if task is None:
            check_hidden(hidden[of], part, there)
            continue
        found = task.logits(hidden[of], there, part)
        for row, own in zip(of, () if found is None else found, strict=found is not None):
            logits[row] = own
    return logits


def _groups(rows: Rows) -> Sequence[tuple[list[int], DecodedTask | None]]:
    """Groups the rows by task, those of the base alone together."""
    groups: dict[int, tuple[list[int], DecodedTask | None]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(id(row), ([], row))[0].append(i)
    return list(groups.values())
