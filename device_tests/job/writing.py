"""A job's prompts, and the tasks among its bundles that write text."""

from pathlib import Path

from osd_edge.device_tests.job.sessions import named_bundles, task_files
from osd_edge.device_tests.job.sheet import Job
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.kinds import KINDS


def prompts_of(job: Job, rows: int) -> list[list[int]]:
    """Makes prompts of the job's tokens, no two alike."""
    ids = list(job.ids[0])
    return [ids[i:] + ids[:i] for i in range(rows)]


def writing_bundles(job: Job) -> list[tuple[str, Path]]:
    """Lists the names and files of the job's tasks that write text."""
    return [(name, path) for name, path in named_bundles(job.bundles) if _writes(path)]


def writing_files(job: Job) -> list[tuple[str, Path]]:
    """Lists as many of them as the job wants tasks; copies follow the last bundle."""
    return task_files(job, writing_bundles(job))


def _writes(path: Path) -> bool:
    return KINDS[read_bundle_file(path).head.kind].writes
