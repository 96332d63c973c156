"""Measures a session on more threads, and one with more callers, each with its own task."""

import threading
import time

import numpy as np

from osd_edge.device_tests.gauges.growth import counts_up_to
from osd_edge.device_tests.gauges.machine import usable_cpus
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.job.sessions import inputs_of, open_session, outputs_of, task_files
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.runtime import EdgeSession

_CALLERS = (1, 2, 4)


def run(job: Job, sheet: Sheet) -> None:
    """Makes rows by threads of a session (latency), and by callers of one session (throughput)."""
    if job.timed:
        for threads in counts_up_to(usable_cpus() or 1):
            _measure_threads(job, threads, sheet.add_row(threads=threads))
    _measure_callers(job, sheet)


def _measure_threads(job: Job, threads: int, row: Sheet) -> None:
    session = open_session(job, threads=threads)
    inputs = inputs_of(job, session.manifest)
    name = session.load(task_files(job)[0][1])
    samples = measure_rounds(
        [
            Variant("base", lambda: session.run(inputs, task=None)),
            Variant("task", lambda: session.run(inputs, task=name)),
        ],
        runs=job.runs,
        seconds=job.seconds / 2,
    )
    put_latency(row, samples["task"], base=samples["base"])


def _measure_callers(job: Job, sheet: Sheet) -> None:
    """Checks that every caller's every answer is the one that its task gives alone."""
    session = open_session(job)
    inputs = inputs_of(job, session.manifest)
    files = task_files(job)[: max(_CALLERS)]
    for name, path in files:
        session.load(path, name)
    alone = {name: outputs_of(session.run(inputs, task=name)) for name in session.tasks}
    wrong = [0]
    for callers in _CALLERS:
        row = sheet.add_row(callers=callers)
        runs = max(2, job.runs // callers)
        start = time.perf_counter()
        threads = [
            threading.Thread(
                target=_call, args=(session, files[i % len(files)][0], inputs, alone, runs, wrong)
            )
            for i in range(callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
        if job.timed:
            row.put("throughput_per_s", callers * runs * len(job.ids) / took)
        row.put("runs_count", callers * runs)
    sheet.check(
        "whole-tasks",
        wrong[0] == 0,
        f"{wrong[0]} answers of callers at once differ from their task's own"
        if wrong[0]
        else "callers at once get the answers that their tasks give alone",
    )


def _call(
    session: EdgeSession,
    name: str,
    inputs: dict[str, object],
    alone: dict[str, object],
    runs: int,
    wrong: list[int],
) -> None:
    for _ in range(runs):
        try:
            found = outputs_of(session.run(inputs, task=name))  # type: ignore[arg-type]
        except Exception:
            wrong[0] += 1
            raise
        if not np.allclose(found, alone[name], rtol=0, atol=1e-5):  # type: ignore[arg-type]
            wrong[0] += 1
