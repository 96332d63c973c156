"""Times a swap: from the file to a decoded task (cold), and between decoded tasks (warm)."""

from osd_edge.device_tests.gauges.rounds import no_garbage_collection
from osd_edge.device_tests.gauges.samples import spread_of
from osd_edge.device_tests.gauges.swaps import take_swaps
from osd_edge.device_tests.job.sessions import (
    KEEP_ALL_DECODED,
    inputs_of,
    named_bundles,
    open_session,
)
from osd_edge.device_tests.job.sheet import Job, Sheet


def run(job: Job, sheet: Sheet) -> None:
    """Makes a row for each bundle; the scenario's figures are of all of them together."""
    session = open_session(job, cache_bytes=KEEP_ALL_DECODED)
    inputs = inputs_of(job, session.manifest)
    tasks = named_bundles(job.bundles)
    for name, path in tasks:
        session.load(path, name)
    names = [name for name, _ in tasks]
    together: dict[str, list[float]] = {}
    for name, path in tasks:
        row = sheet.add_row(task=name)
        with no_garbage_collection():
            by_figure = take_swaps(session, name, path, names, inputs, job.runs)
        row.put("file_bytes", path.stat().st_size)
        for figure, samples in by_figure.items():
            row.put(figure, spread_of(samples))
            together.setdefault(figure, []).extend(samples)
    for figure, samples in together.items():
        sheet.put(figure, spread_of(samples))
