"""Measures one active task: its memory, and the latency of every way to run it."""

from functools import partial
from pathlib import Path

import numpy as np

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.gauges.samples import time_ms
from osd_edge.device_tests.gauges.scratch import scratch_folder
from osd_edge.device_tests.gauges.steady import put_steady
from osd_edge.device_tests.job.sessions import (
    KEEP_ALL_DECODED,
    WARM_UP_RUNS,
    Inputs,
    graph_run,
    inputs_of,
    named_bundles,
    open_branched,
    open_session,
    plain_run,
)
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.device_tests.scenarios.ort_adapters import (
    check_adapters,
    load_adapter,
    write_adapter,
)
from osd_edge.errors import OsdEdgeError
from osd_edge.runtime import EdgeSession

_MOST_TASKS = 8  # in one round; a round of hundreds would last too long to compare within
_PLAIN, _BASE, _ADAPTER = "plain graph", "no task", "LoraAdapter"


def run(job: Job, sheet: Sheet) -> None:
    """Takes the memory and the scenario's figures of the first bundle, and a row of each."""
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    inputs = inputs_of(job, session.manifest)
    bundles = named_bundles(job.bundles)[:_MOST_TASKS]
    first, path = bundles[0]
    before = session.run(inputs).hidden
    session.load(path, first)
    session.activate(first)
    sheet.put("first_run_ms", time_ms(lambda: session.run(inputs)))
    for _ in range(WARM_UP_RUNS):
        session.run(inputs)
    put_memory(sheet)

    session.deactivate()
    same = np.array_equal(session.run(inputs).hidden, before)
    sheet.check("back-to-base", same, "after a task the base gives what it gave, bit for bit")
    if not job.timed:
        return
    for name, path in bundles[1:]:
        session.load(path, name)
    _measure(job, sheet, session, inputs, bundles)
    session.activate(first)
    put_steady(sheet, job, partial(session.run, inputs))


def _measure(
    job: Job, sheet: Sheet, session: EdgeSession, inputs: Inputs, bundles: list[tuple[str, Path]]
) -> None:
    """Runs rounds over the plain graph, no task, every task, and the first one as an adapter."""
    first, path = bundles[0]
    run = partial(session.run, inputs)
    variants = [Variant(_BASE, run, session.deactivate)]
    plain = plain_run(session.folder, session.manifest, inputs, job.threads)
    if plain is not None:
        variants.append(Variant(_PLAIN, plain))
    for name, _ in bundles:
        variants.append(Variant(f"task {name}", run, partial(session.activate, name)))
    adapter, why_not = None, ""
    try:
        check_adapters()
        with scratch_folder(job.scratch) as folder:
            adapter = load_adapter(write_adapter(path, session.manifest, folder / "0.onnx_adapter"))
    except OsdEdgeError as error:
        why_not = str(error)
    else:
        branched = open_branched(session.folder, job.threads)
        adapted = graph_run(branched, session.manifest, inputs, adapter=adapter)
        variants.append(Variant(_ADAPTER, adapted))
    samples = measure_rounds(variants, runs=job.runs, seconds=job.seconds)
    plain_samples, base_samples = samples.get(_PLAIN), samples[_BASE]
    if plain_samples is not None:
        put_latency(sheet.add_row(way=_PLAIN), plain_samples)
    put_latency(sheet.add_row(way=_BASE), base_samples, plain=plain_samples)
    put_latency(sheet, samples[f"task {first}"], plain=plain_samples, base=base_samples)
    for name, _ in bundles:
        row = sheet.add_row(task=name)
        put_latency(row, samples[f"task {name}"], plain=plain_samples, base=base_samples)
    row = sheet.add_row(way=_ADAPTER, task=first)
    if adapter is None:
        row.put("latency_ms", None, f"not available here: {why_not}")
    else:
        put_latency(row, samples[_ADAPTER], plain=plain_samples, base=base_samples)
