"""Measures today's way with little memory: one model at a time, opened anew for each task.

The file is in the system's cache of pages, so this is the least that it takes.
"""

import gc
import time
from pathlib import Path

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.samples import spread_of
from osd_edge.device_tests.job.sessions import graph_run, inputs_of, open_plain
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.errors import BaseError, Code
from osd_edge.formats.package.manifest import PLAIN_MODEL
from osd_edge.formats.package.manifest_reader import read_manifest

_MOST_REQUESTS = 30


def run(job: Job, sheet: Sheet) -> None:
    """Serves as many requests as the job has runs (to `_MOST_REQUESTS`), each in a new session."""
    base = Path(job.base)
    manifest = read_manifest(base)
    if not (base / PLAIN_MODEL).is_file():
        raise BaseError(Code.BASE_FILE, f"{base / PLAIN_MODEL} is missing: export the base again")
    inputs = inputs_of(job, manifest)
    session_ms, first_run_ms = [], []
    for _ in range(min(job.runs, _MOST_REQUESTS) if job.timed else 2):
        gc.collect()
        start = time.perf_counter_ns()
        session = open_plain(base, job.threads)
        opened_at = time.perf_counter_ns()
        graph_run(session, manifest, inputs)()
        done = time.perf_counter_ns()
        session_ms.append((opened_at - start) / 1e6)
        first_run_ms.append((done - opened_at) / 1e6)
        put_memory(sheet)  # the last one stands: with what earlier models left behind
        del session
    if job.timed:
        sheet.put("session_ms", spread_of(session_ms))
        sheet.put("first_run_ms", spread_of(first_run_ms))
        sheet.put(
            "request_ms", spread_of([a + b for a, b in zip(session_ms, first_run_ms, strict=True)])
        )
