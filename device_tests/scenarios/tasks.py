"""Measures many tasks over one base: what each more of them adds to memory and disk."""

from osd_edge.device_tests.gauges.growth import put_growth
from osd_edge.device_tests.job.sessions import (
    WARM_UP_RUNS,
    folder_bytes,
    inputs_of,
    open_session,
    task_files,
)
from osd_edge.device_tests.job.sheet import Job, Sheet


def run(job: Job, sheet: Sheet) -> None:
    """Loads, activates and runs one task after another; all of them have run at the end."""
    session = open_session(job)
    inputs = inputs_of(job, session.manifest)
    for _ in range(WARM_UP_RUNS):
        session.run(inputs)
    files = task_files(job)

    def grow(i: int) -> None:
        name, path = files[i]
        session.load(path, name)
        session.activate(name)
        session.run(inputs)

    grown = put_growth(sheet, len(files), grow)
    sheet.check(
        "all-loaded", grown == len(session.tasks) == len(files), f"{grown} tasks loaded and run"
    )
    sheet.put(
        "disk_bytes", folder_bytes(session.folder) + sum(path.stat().st_size for _, path in files)
    )
