"""Measures the profile for small devices beside the usual one: less memory, slower runs."""

import time
from functools import partial

import numpy as np

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.gauges.samples import ratio_of, time_ms
from osd_edge.device_tests.job.sessions import WARM_UP_RUNS, inputs_of, named_bundles, open_session
from osd_edge.device_tests.job.sheet import Job, Sheet


def run(job: Job, sheet: Sheet) -> None:
    """Takes memory with a task active, before another session opens; then runs rounds."""
    start = time.perf_counter_ns()
    low = open_session(job, memory="low")
    sheet.put("session_ms", (time.perf_counter_ns() - start) / 1e6)
    inputs = inputs_of(job, low.manifest)
    name, path = named_bundles(job.bundles)[0]
    low.load(path, name)
    low.activate(name)
    sheet.put("first_run_ms", time_ms(lambda: low.run(inputs)))
    for _ in range(WARM_UP_RUNS):
        found = low.run(inputs).hidden
    put_memory(sheet)

    usual = open_session(job)
    usual.load(path, name)
    usual.activate(name)
    difference = float(np.abs(usual.run(inputs).hidden - found).max())
    sheet.check(
        "same-as-usual", difference < 1e-3, f"both profiles' answers: apart by {difference:.1e}"
    )
    if not job.timed:
        return
    samples = measure_rounds(
        [Variant("low", partial(low.run, inputs)), Variant("usual", partial(usual.run, inputs))],
        runs=job.runs,
        seconds=job.seconds,
    )
    put_latency(sheet, samples["low"])
    sheet.put("to_usual_ratio", ratio_of(samples["low"].wall_ms, samples["usual"].wall_ms))
