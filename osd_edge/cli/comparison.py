"""One task by several methods, each bundle scored as a device runs it, beside its bounds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osd_edge.bundle import write_bundle
from osd_edge.bundle_reader import read_bundle_file
from osd_edge.examples import Example
from osd_edge.exporters import TaskExporter, TaskReport
from osd_edge.exporters.budget import parse_budget
from osd_edge.exporters.calibration import MAX_TOKENS
from osd_edge.exporters.fine_tuned import fine_tuned_accuracy, fp32_bytes
from osd_edge.files import write_file
from osd_edge.progress import Progress, silent
from osd_edge.runtime import EdgeSession, evaluate


@dataclass(frozen=True)
class Scored:
    """A bundle that was exported, and its test accuracy (0 to 1) on the device runtime."""

    report: TaskReport
    accuracy: float


@dataclass(frozen=True)
class TaskComparison:
    """Test accuracies (0 to 1) of one task.

    `fine_tuned` is the checkpoint itself in torch; `frozen_probe` a logistic regression on the
    base's features; `zero_delta` the task's head on the base with no delta. `fp32_bytes` is the
    size of the checkpoint's weights in fp32.
    """

    task: str
    labels: int
    test_examples: int
    fp32_bytes: int
    fine_tuned: float
    frozen_probe: float
    zero_delta: float
    bundles: tuple[Scored, ...]


@dataclass(frozen=True)
class TaskFiles:
    """A fine-tuned model, its examples, and the accuracy of a frozen probe on `test`."""

    name: str
    tuned: Path
    frozen_probe: float
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]


def compare_task(
    session: EdgeSession,
    base: Path,
    task: TaskFiles,
    methods: Sequence[str],
    budgets: Sequence[str],
    out: Path,
    *,
    values: str = "fp32",
    progress: Progress = silent,
) -> TaskComparison:
    """Export `task` by each method at each budget into `out`, and score every bundle.

    The session's base package must be that of `base`; bundles are unloaded again.
    """
    fine_tuned = fine_tuned_accuracy(base, task.tuned, task.test, progress)
    exporter = TaskExporter(base, task.tuned, calibration=task.calibration, progress=progress)
    scored = []
    # The largest first: factors and scores that it needs serve the others too.
    for budget in sorted(budgets, key=_largest_first):
        for method in methods:
            size = "".join(c for c in budget if c not in "= ")
            path = out / f"{task.name}-{method}-{size}.osd.safetensors"
            report = exporter.export(
                path, method=method, budget=budget, values=values, progress=progress
            )
            scored.append(Scored(report, _accuracy(session, path, task.test, progress)))
    scored.sort(key=lambda s: (methods.index(s.report.method), s.report.size))
    return TaskComparison(
        task=task.name,
        labels=len(read_bundle_file(Path(scored[0].report.path)).labels),
        test_examples=len(task.test),
        fp32_bytes=fp32_bytes(task.tuned),
        fine_tuned=fine_tuned,
        frozen_probe=task.frozen_probe,
        zero_delta=_zero_delta(session, Path(scored[0].report.path), task, progress),
        bundles=tuple(scored),
    )


def _largest_first(text: str) -> float:
    budget = parse_budget(text)
    return -(budget.rank or budget.size or 0)


def _accuracy(
    session: EdgeSession, path: Path, test: Sequence[Example], progress: Progress
) -> float:
    name = session.load(path)
    try:
        return evaluate(session, name, test, max_length=_limit(session), progress=progress).accuracy
    finally:
        session.unload(name)


def _zero_delta(session: EdgeSession, bundle: Path, task: TaskFiles, progress: Progress) -> float:
    """Accuracy of the task's head over the base alone."""
    emptied = replace(
        read_bundle_file(bundle), task=f"{task.name}-zero-delta", sites=(), method={}, scores={}
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "zero-delta.osd.safetensors"
        write_file(path, write_bundle(emptied))
        return _accuracy(session, path, task.test, progress)


def _limit(session: EdgeSession) -> int:
    text = session.manifest.text
    return MAX_TOKENS if text is None else min(MAX_TOKENS, text.max_length)
