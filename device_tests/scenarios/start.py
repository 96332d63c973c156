"""Times a cold start: the process, the import, the session, the first run."""

import time

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.samples import time_ms
from osd_edge.device_tests.job.sheet import CLOCK, Job, Sheet


def run(job: Job, sheet: Sheet) -> None:
    """Times each step, and takes memory after the first run."""
    began = CLOCK()
    start = time.perf_counter_ns()
    from osd_edge.device_tests.job.sessions import inputs_of, open_session

    sheet.put("import_ms", (time.perf_counter_ns() - start) / 1e6)
    start = time.perf_counter_ns()
    session = open_session(job)
    sheet.put("session_ms", (time.perf_counter_ns() - start) / 1e6)
    inputs = inputs_of(job, session.manifest)
    sheet.put("first_run_ms", time_ms(lambda: session.run(inputs)))
    sheet.put("cold_start_ms", (CLOCK() - job.started_ns) / 1e6)
    sheet.put("process_ms", (began - job.started_ns) / 1e6)
    put_memory(sheet)
