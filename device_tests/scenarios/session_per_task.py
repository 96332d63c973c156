"""Measures today's way with adapters: a session for each task, all over one base file."""

from pathlib import Path

from osd_edge.device_tests.gauges.growth import put_growth
from osd_edge.device_tests.gauges.samples import spread_of, time_ms
from osd_edge.device_tests.job.sessions import folder_bytes, inputs_of, open_session, task_files
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.runtime import EdgeSession


def run(job: Job, sheet: Sheet) -> None:
    """Opens one session after another, each with one task, until all have one or memory is out."""
    files = task_files(job)
    sessions: list[EdgeSession] = []
    session_ms: list[float] = []

    def grow(i: int) -> None:
        session_ms.append(time_ms(lambda: sessions.append(open_session(job))))
        session = sessions[-1]
        session.load(files[i][1], "task")
        session.activate("task")
        session.run(inputs_of(job, session.manifest))

    base = Path(job.base)
    fitting = put_growth(sheet, len(files), grow, first_needs=2 * folder_bytes(base))
    sheet.put("disk_bytes", folder_bytes(base) + sum(path.stat().st_size for _, path in files))
    if job.timed and fitting:
        sheet.put("session_ms", spread_of(session_ms))
