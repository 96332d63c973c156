"""Bundles of several fine-tuned models over one base, made side by side."""

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.task import export_task


def export_tasks(
    base: str | Path,
    tasks: Mapping[Path, str | Path],
    executor: Executor,
    **options: Any,
) -> list[TaskReport]:
    """Write the bundle of each fine-tuned model in `tasks`, which are by file to be written.

    Whole tasks run in `executor`, threads or processes. `options` are those of `export_task`;
    reports come in the order of `tasks`. The first error of a task is raised once the others have
    ended, and those have their files.
    """
    running = [
        executor.submit(export_task, base, tuned, out, **options) for out, tuned in tasks.items()
    ]
    errors = [future.exception() for future in running]
    for error in errors:
        if error is not None:
            raise error
    return [future.result() for future in running]
