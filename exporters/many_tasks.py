"""Bundles of several fine-tuned models over one base, made side by side."""

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_model, as_path, expect
from osd_edge.data.files import check_outputs
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.task import export_task


def export_tasks(
    base: str | Path,
    tasks: Mapping[str | Path, str | Path] | Mapping[str, str | Path] | Mapping[Path, str | Path],
    executor: Executor,
    **options: Any,
) -> list[TaskReport]:
    """Writes the bundles of several fine-tuned models over one base, side by side.

    Args:
        base: the base, a folder or hub id in Hugging Face format.
        tasks: the fine-tuned models, by the file to be written.
        executor: threads or processes in which whole tasks run.
        **options: the fields of TaskOptions that hold for every task.

    Returns:
        The reports, in the order of `tasks`.

    Raises:
        OsdEdgeError: the first error of a task, once the others have ended; those have their
            files.
        InputError: `input.type` for tasks or an executor that are none, `input.path` for a path
            that is none. Nothing is begun then.
        OutputError: `output.same` where two tasks have one file.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> tasks = {"a.osd.safetensors": "tuned", "b.osd.safetensors": "tuned"}
        >>> with ThreadPoolExecutor(1) as executor:
        ...     [report.task for report in export_tasks("base", tasks, executor, budget="r=1")]
        ['a', 'b']
    """
    expect(executor, Executor, "executor")
    expect(tasks, Mapping, "tasks")  # type: ignore[type-abstract]  # it is only compared with
    models = [
        (as_path(out, "a task's file"), as_model(tuned, "a fine-tuned model"))
        for out, tuned in tasks.items()
    ]
    check_outputs({f"task {number}": out for number, (out, _) in enumerate(models, 1)}, [])
    running = [executor.submit(export_task, base, tuned, out, **options) for out, tuned in models]
    errors = [future.exception() for future in running]
    for error in errors:
        if error is not None:
            raise error
    return [future.result() for future in running]
