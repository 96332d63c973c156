"""One task active: its memory, and the latency of each bundle beside the base and plain graph."""

from functools import partial

import numpy as np

from osd_edge.device_tests.job import Job, Sheet
from osd_edge.device_tests.memory import put_memory
from osd_edge.device_tests.opened import (
    KEEP_ALL_DECODED,
    WARM_UP_RUNS,
    inputs_of,
    named_bundles,
    open_session,
    plain_run,
)
from osd_edge.device_tests.rounds import Variant, measure_rounds, put_latency
from osd_edge.device_tests.samples import time_ms
from osd_edge.device_tests.steady import put_steady

_MOST_TASKS = 8  # in one round; a round of hundreds would last too long to compare within


def run(job: Job, sheet: Sheet) -> None:
    """The first bundle gives the memory and the scenario's figures; each gives a row."""
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
    run = partial(session.run, inputs)
    variants = [Variant("base", run, session.deactivate)]
    plain = plain_run(session.folder, session.manifest, inputs, job.threads)
    if plain is not None:
        variants.append(Variant("plain", plain))
    for name, _ in bundles:
        variants.append(Variant(f"task {name}", run, partial(session.activate, name)))
    taken = measure_rounds(variants, runs=job.runs, seconds=job.seconds)
    for on, name in ((sheet, first), *((sheet.add_row(task=n), n) for n, _ in bundles)):
        put_latency(on, taken[f"task {name}"], plain=taken.get("plain"), base=taken["base"])
    session.activate(first)
    put_steady(sheet, job, run)
