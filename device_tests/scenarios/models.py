"""Measures today's way: a whole fine-tuned model for each task, all of them open.

A fine-tuned model's graph is the plain graph with other numbers in it. So the models are copies
of the plain graph and of its weights, each a file of its own whose pages no two share: byte for
byte what as many fine-tuned models take, whatever is in them (their heads, a few KB, left out).
"""

from pathlib import Path
from typing import Any

from osd_edge.device_tests.gauges.growth import put_growth
from osd_edge.device_tests.gauges.samples import spread_of, time_ms
from osd_edge.device_tests.gauges.scratch import check_room, copy_to_disk, has_room, scratch_folder
from osd_edge.device_tests.job.sessions import graph_run, inputs_of, open_plain, task_files
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.errors import BaseError, Code
from osd_edge.formats.package.manifest import PLAIN_MODEL, WEIGHTS
from osd_edge.formats.package.manifest_reader import read_manifest


def run(job: Job, sheet: Sheet) -> None:
    """Opens one model after another until each task has one, or there is no room for one more."""
    base = Path(job.base)
    manifest = read_manifest(base)
    parts = [base / PLAIN_MODEL, base / WEIGHTS]
    if not parts[0].is_file():
        raise BaseError(Code.BASE_FILE, f"{parts[0]} is missing: export the base again")
    size = sum(path.stat().st_size for path in parts)
    inputs = inputs_of(job, manifest)
    wanted = len(task_files(job))
    sessions: list[Any] = []
    session_ms: list[float] = []
    first_run_ms: list[float] = []
    with scratch_folder(job.scratch) as folder:
        check_room(folder, size)

        def grow(i: int) -> bool:
            if not has_room(folder, size):
                return False
            for path in parts:
                copy_to_disk(path, folder / f"model-{i}" / path.name)
            model = folder / f"model-{i}"
            session_ms.append(time_ms(lambda: sessions.append(open_plain(model, job.threads))))
            first_run_ms.append(time_ms(graph_run(sessions[-1], manifest, inputs)))
            return True

        fitting = put_growth(sheet, wanted, grow, first_needs=2 * size)
        sheet.put("disk_bytes", wanted * size)
        if job.timed and fitting:
            sheet.put("session_ms", spread_of(session_ms))
            sheet.put("first_run_ms", spread_of(first_run_ms))
