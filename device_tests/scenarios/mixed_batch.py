"""Measures a batch of rows with different tasks, beside one task and rows one by one."""

from functools import partial
from typing import Any

import numpy as np

from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds
from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.job.inputs import graph_inputs
from osd_edge.device_tests.job.sessions import (
    KEEP_ALL_DECODED,
    open_session,
    outputs_of,
    task_files,
)
from osd_edge.device_tests.job.sheet import Job, Sheet

_ROWS = 8
_TASKS = 4
_TOLERANCE = 1e-4  # of logits, which add up hundreds of hidden features that agree to 1e-5


def run(job: Job, sheet: Sheet) -> None:
    """Runs `_ROWS` rows of `_TASKS` tasks, in turn, in one pass, and what it is compared with."""
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    files = task_files(job)[:_TASKS]
    for name, path in files:
        session.load(path, name)
    tasks = [files[i % len(files)][0] for i in range(_ROWS)]
    ids = [list(job.ids[i % len(job.ids)]) for i in range(_ROWS)]
    ids = [row[i:] + row[:i] for i, row in enumerate(ids)]  # no two rows alike
    inputs = graph_inputs(session.manifest, ids)
    rows = [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(_ROWS)]

    def one_by_one() -> list[Any]:
        return [session.run(row, task=task) for row, task in zip(rows, tasks, strict=True)]

    mixed = outputs_of(session.run(inputs, tasks=tasks))
    alone = [outputs_of(output)[0] for output in one_by_one()]
    apart = max(float(np.abs(a - b).max()) for a, b in zip(mixed, alone, strict=True))
    sheet.check(
        "same-as-rows", apart < _TOLERANCE, f"a mixed batch and row by row: apart by {apart:.1e}"
    )
    sheet.put("rows_count", _ROWS)
    sheet.put("tasks_count", len(files))
    if not job.timed:
        return
    samples = measure_rounds(
        [
            Variant("mixed", partial(session.run, inputs, tasks=tasks)),
            Variant("single", partial(session.run, inputs, task=tasks[0])),
            Variant("rows", one_by_one),
        ],
        runs=job.runs,
        seconds=job.seconds,
    )
    mixed_ms, single, row_by_row = (samples[name].wall_ms for name in ("mixed", "single", "rows"))
    sheet.put("batch_ms", spread_of(mixed_ms))
    sheet.put("single_task_batch_ms", spread_of(single))
    sheet.put("one_by_one_ms", spread_of(row_by_row))
    sheet.put("to_single_task_ratio", ratio_of(mixed_ms, single))
    sheet.put("to_one_by_one_ratio", ratio_of(mixed_ms, row_by_row))
