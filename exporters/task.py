"""`export task`: a fine-tuned model becomes a task bundle over its base.

The data's way: models and calibration rows are opened as a Source → the method of the options
makes a bundle and a report → the bundle is written.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_path, expect, expect_callable
from osd_edge.data.files import check_file_writable, is_special, kind_at, real_path, write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError, OsdEdgeError, OutputError
from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.made import finished
from osd_edge.exporters.methods.options import OPENED, TaskOptions, check_names
from osd_edge.exporters.methods.origin import origin
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.no_delta import check_differs
from osd_edge.exporters.scoring.calibrated_task import examples_in
from osd_edge.exporters.scoring.held_back import check_keep_rows

_NAMES = tuple(field.name for field in fields(TaskOptions))


class TaskExporter:
    """Makes several bundles of one fine-tuned model; what they share is computed once.

    One export runs at a time: threads need an exporter each.

    `source` is what methods look at, and private: both models, the sites, the calibration rows.

    Args:
        base: the base, a folder or hub id in Hugging Face format.
        tuned: the fine-tuned model, likewise; None where there are adapters in its place.
        work: a folder in which what is finished of a large model is kept, until `close`.
        executor: threads or processes that may do several layers at once, to the same bytes.
        progress: shows how far the work is.
        **options: fields of TaskOptions. Those of the models and the rows hold for all bundles,
            the others where `export` is not told otherwise.

    Raises:
        ModelError: the two models are not a base and a task over it.
        DataError: the calibration set cannot be read.
        InputError: an option is malformed, or there is none of that name; `input.path` for a path
            that is none, `input.type` for an executor or a progress that is none.

    Example:
        >>> exporter = TaskExporter("base", "tuned", calibration="sentences.txt")
        >>> for size in (3072, 4096):
        ...     report = exporter.export(f"mr-{size}.osd.safetensors", budget=size)
        ...     print(report.size <= 4096)
        True
        True
    """

    def __init__(
        self,
        base: str | Path,
        tuned: str | Path | None,
        *,
        work: str | Path | None = None,
        executor: Executor | None = None,
        progress: Progress = silent,
        **options: Any,
    ) -> None:
        """Open both models and the calibration set."""
        check_names(options, _NAMES)
        _check_helpers(executor, progress)
        self.source = Source(
            TaskOptions(base=base, tuned=tuned, **options),
            work=None if work is None else as_path(work, "work"),
            executor=executor,
            progress=progress,
        )

    def export(self, out: str | Path, *, progress: Progress = silent, **options: Any) -> TaskReport:
        """Writes one bundle.

        Args:
            out: the file, whose name names the task unless `name` does.
            progress: shows how far the work is.
            **options: fields of TaskOptions, but for those that were given when the models were
                opened.

        Returns:
            The report: sizes in bytes, and scores on the calibration set.

        Raises:
            BudgetError: the budget cannot be met.
            DataError: the calibration set does not do for what was asked.
            InputError: an option is malformed, or not one of the method's; `input.path` for a path
                that is none, `input.type` for a progress that is no function.
            ModelError: `model.same` where there is no delta and the method needs one.
            OutputError: the file cannot be written.

        Example:
            >>> exporter = TaskExporter("base", "tuned")
            >>> exporter.export("mr.osd.safetensors", method="truncsvd").method
            'truncsvd'
        """
        check_names(options, [name for name in _NAMES if name not in OPENED])
        out = as_path(out, "out")
        expect_callable(progress, "progress")
        chosen = replace(self.source.options, **options)
        method: Method = chosen.entry.load()
        method.check(chosen)
        return self._export(out, chosen, method, progress)

    def close(self, *, done: bool = True) -> None:
        """Ends the exports; matters where there is a work folder.

        Args:
            done: whether the finished work in it is of no more use: the folder is then removed,
                else left to an export that takes it up.

        Raises:
            InputError: `input.type` for other than True or False.

        Example:
            >>> exporter = TaskExporter("base", "tuned", work="work")
            >>> exporter.close()
        """
        self.source.close(done=expect(done, bool, "done"))

    def _export(
        self, out: Path, options: TaskOptions, method: Method, progress: Progress
    ) -> TaskReport:
        check_file_writable(out)
        task, source = options.task(out), self.source
        source.progress = progress
        if options.budget is None and options.keep is None and source.models.writes:
            options = replace(options, budget=options.entry.budget_written)
        if options.entry.delta and not source.layers and not source.vectors:
            check_differs(source.models)
            raise ModelError(
                Code.MODEL_SAME,
                "the chosen layers are the base's own: no delta. "
                "Choose others with --sites, or take --method head",
            )
        made = method.make(source, task, options, progress)
        data, report = finished(made, source, options)
        write_file(out, data)
        return replace(report, path=str(out), **origin(source, options))


def export_task(
    base: str | Path,
    tuned: str | Path | None,
    out: str | Path,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
    **options: Any,
) -> TaskReport:
    """Writes the task bundle of a model that was fine-tuned from a base.

    Of a large model, finished layers are kept in a folder beside `out` until that is written: an
    export that was broken off, or found the disk full, takes up from there. A refusal of what was
    asked for leaves no such folder.

    Args:
        base: the base, a folder or hub id in Hugging Face format.
        tuned: the fine-tuned model, likewise; None where there are adapters in its place.
        out: the bundle's file, whose name names the task unless `name` does.
        executor: threads or processes that may do several layers at once, to the same bytes.
        progress: shows how far the work is.
        **options: the other fields of TaskOptions: `calibration`, `method`, `budget` and so on.

    Returns:
        The report: sizes in bytes, and scores on the calibration set.

    Raises:
        OsdEdgeError: what is wrong, of the class and with the code that say it; no file is
            written then.

    Example:
        >>> report = export_task("base", "tuned", "mr.osd.safetensors", budget=3072)
        >>> report.task, report.size <= 3072
        ('mr', True)
    """
    check_names(options, _NAMES)
    _check_helpers(executor, progress)
    out = as_path(out, "out")
    chosen = TaskOptions(base=base, tuned=tuned, **options)
    # What needs no model is checked before minutes of work.
    check_file_writable(out)
    chosen.task(out)
    _check_calibration(out, chosen)
    folders = [folder for folder, _ in chosen.adapters]
    _check_replaces_no_model(out, [chosen.base, chosen.tuned, *folders])
    method: Method = chosen.entry.load()
    method.check(chosen)
    work = None if is_special(out) else out.with_name(f".{out.name}.work")
    resumed = work is not None and kind_at(work) is not None
    exporter = TaskExporter(work=work, executor=executor, progress=progress, **_as_keywords(chosen))
    done = False  # or of no use any more
    try:
        report = exporter._export(out, chosen, method, progress)
        done = True
    except OutputError:
        raise  # the place is at fault, a full disk: what is finished will be of use
    except OsdEdgeError:
        done = not resumed  # an earlier export's work is not this mistake's to delete
        raise
    finally:
        exporter.close(done=done)
    return report


def _check_helpers(executor: object, progress: object) -> None:
    """Refuse (`input.type`) an executor or a progress that is none."""
    if executor is not None:
        expect(executor, Executor, "executor")
    expect_callable(progress, "progress")


def _as_keywords(options: TaskOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _NAMES}


def _check_calibration(out: Path, options: TaskOptions) -> None:
    """Refuse files of rows that cannot be read, are the output, or have too few rows."""
    counts = []
    for name, rows in (
        ("calibration set", options.calibration),
        ("set to score on", options.score_on),
    ):
        if isinstance(rows, Path):
            counts.append(len(examples_in(rows)))
            if out.exists() and out.samefile(rows):
                raise OutputError(Code.OUTPUT_EXISTS, f"{out} is the {name}: name another file")
        else:
            counts.append(len(rows or ()))
    if options.keep is not None and options.calibration is not None:
        check_keep_rows(counts[0], None if options.score_on is None else counts[1])


def _check_replaces_no_model(out: Path, models: Sequence[str | Path | None]) -> None:
    """Refuse (`output.same`) to replace a file of a model that is read, but for a bundle in it."""
    there = [Path(model) for model in models if model is not None]
    folders = [Path(os.path.realpath(model)) for model in there if kind_at(model) is not None]
    real = real_path(out)
    if kind_at(out) == "file" and not real.name.endswith(".osd.safetensors"):
        for folder in folders:
            if folder in real.parents:
                raise OutputError(
                    Code.OUTPUT_SAME,
                    f"{out} is a file of the model {folder}, which is read: name another file",
                )
