"""Measures the base without a task: its memory, and its latency beside the plain graph's.

The plain graph is measured against itself in the same rounds: how far apart two measurements of
one thing are here is the noise that every other figure has to be read with.
"""

import time
from functools import partial

import numpy as np

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.gauges.steady import put_steady
from osd_edge.device_tests.job.sessions import WARM_UP_RUNS, inputs_of, open_session, plain_run
from osd_edge.device_tests.job.sheet import Job, Sheet

_NO_PLAIN = (
    "the base package has no plain.onnx (made by an older release): export the base again for "
    "ratios to the plain graph"
)


def run(job: Job, sheet: Sheet) -> None:
    """Takes memory first, while there is one session only; then rounds beside the plain graph."""
    start = time.perf_counter_ns()
    session = open_session(job)
    sheet.put("session_ms", (time.perf_counter_ns() - start) / 1e6)
    inputs = inputs_of(job, session.manifest)
    for _ in range(WARM_UP_RUNS):
        hidden = session.run(inputs).hidden
    put_memory(sheet)
    sheet.put("disk_bytes", sum(int(e["bytes"]) for e in session.manifest.files.values()))

    plain = plain_run(session.folder, session.manifest, inputs, job.threads)
    if plain is None:
        sheet.put("plain_difference", None, _NO_PLAIN)
    else:
        difference = float(np.abs(plain()[0] - hidden).max())
        sheet.put("plain_difference", difference)
        # Bit for bit on one build of onnxruntime; another may fuse the two graphs differently.
        same = "the same to the last bit" if difference == 0 else f"apart by up to {difference:.1e}"
        sheet.check("same-as-plain", difference < 1e-3, f"no task and the plain graph: {same}")
    if not job.timed:
        return
    runs = partial(session.run, inputs)
    variants = [Variant("base", runs)]
    if plain is not None:
        variants = [Variant("plain", plain), Variant("again", plain), *variants]
    samples = measure_rounds(variants, runs=job.runs, seconds=job.seconds)
    put_latency(sheet, samples["base"], plain=samples.get("plain"))
    if plain is None:
        sheet.put("to_plain_ratio", None, _NO_PLAIN)
    else:
        sheet.put("plain_latency_ms", spread_of(samples["plain"].wall_ms))
        sheet.put("plain_cpu_ms", spread_of(samples["plain"].cpu_ms))
        sheet.put("aa_ratio", ratio_of(samples["again"].wall_ms, samples["plain"].wall_ms))
    put_steady(sheet, job, runs)
