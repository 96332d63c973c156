"""Times requests that each want another task than the one before, beside one task."""

from functools import partial

from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds
from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.job.sessions import KEEP_ALL_DECODED, inputs_of, open_session, task_files
from osd_edge.device_tests.job.sheet import Job, Sheet

_MOST_TASKS = 32


def run(job: Job, sheet: Sheet) -> None:
    """Times requests with decoded tasks (`request_ms`), with tasks from files, and without."""
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    inputs = inputs_of(job, session.manifest)
    files = task_files(job)[:_MOST_TASKS]
    for name, path in files:
        session.load(path, name)
        session.activate(name)
    at = 0

    def swapped() -> None:
        nonlocal at
        at = (at + 1) % len(files)
        session.activate(files[at][0])
        session.run(inputs)

    def from_file() -> None:
        nonlocal at
        at = (at + 1) % len(files)
        name, path = files[at]
        session.unload(name)
        session.load(path, name)
        session.activate(name)
        session.run(inputs)

    first = partial(session.activate, files[0][0])
    samples = measure_rounds(
        [
            Variant("same", partial(session.run, inputs), first),
            Variant("swapped", swapped),
            Variant("from file", from_file),
        ],
        runs=job.runs,
        seconds=job.seconds,
    )
    same, swaps, cold = (samples[name].wall_ms for name in ("same", "swapped", "from file"))
    sheet.put("latency_ms", spread_of(same))
    sheet.put("request_ms", spread_of(swaps))
    sheet.put("request_to_latency_ratio", ratio_of(swaps, same))
    sheet.put("cold_request_ms", spread_of(cold))
    sheet.put("cold_request_to_latency_ratio", ratio_of(cold, same))
    sheet.put("tasks_count", len(files))
