"""One task by many methods at many budgets: accuracy against the real bytes of files.

Every file is written, and the weights that are scored are restored from its bytes. Methods see
the two models and the calibration rows; test rows are used for the accuracies alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_model, as_number, as_path, expect, expect_callable
from osd_edge.data.examples import Example, check_labels, check_pairs
from osd_edge.data.files import make_folder, real_path, write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import BudgetError, Code, DataError, InputError, ModelError
from osd_edge.exporters.compare.kept_results import KeptResults, examples_digest, result_name
from osd_edge.exporters.compare.peers.find import find_peer
from osd_edge.exporters.compare.peers.peer import Compressed, Peer
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import budget_text, parse_budget
from osd_edge.exporters.methods.frozen_head import HeadOverBase
from osd_edge.exporters.methods.options import TaskOptions, check_seed
from osd_edge.exporters.methods.registry import check_compared
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.checkpoint import find_model
from osd_edge.exporters.models.compatibility import check_differs
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.exporters.models.fingerprint import fingerprint
from osd_edge.exporters.option_fields import several
from osd_edge.exporters.scoring.fine_tuned_accuracy import fp32_bytes
from osd_edge.exporters.scoring.text_set import TextSet
from osd_edge.exporters.scoring.weight_sets import BASE, LINEAR_ONLY, TUNED, Dense
from osd_edge.formats.limits import task_name

LEAST_GAIN = 0.02  # of full fine-tuning over the probe; a share of less says nothing

Setting = tuple[str, str | None]  # a method, and a budget or None


@dataclass(frozen=True)
class MethodComparison:
    """A comparison of methods to be made. `calibration` may lack labels; `test` is labelled.

    A setting is a method's name and a budget, None for a method that has one size; see `grid`.
    Budgets may be given in bytes, as whole numbers, and are kept as text.
    The frozen probe's accuracy is `probe` where given, else it is trained on `probe_train`, or
    on the calibration set.
    """

    base: str | Path
    tuned: str | Path
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]
    settings: Sequence[tuple[str, str | int | None]] = ()
    task: str = "task"
    seed: int = 0
    probe: float | None = None
    probe_train: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        """Check paths and budgets, and keep each budget as text."""
        as_model(self.base, "base")
        as_model(self.tuned, "tuned")
        object.__setattr__(self, "settings", self.texts)

    @property
    def texts(self) -> tuple[Setting, ...]:
        """The settings, with each budget as text."""
        return tuple(
            (method, None if budget is None else budget_text(budget))
            for method, budget in self.settings
        )


@dataclass(frozen=True)
class Point:
    """One method at one budget (None for a method that has one size).

    `size` in bytes and `accuracy` (0 to 1) on the test set, or why the method has none here;
    `seconds` of processor time, over all cores, that compressing took; `files` below the output
    folder; what the method chose.
    """

    method: str
    budget: str | None
    size: int | None = None
    accuracy: float | None = None
    seconds: float = 0.0
    files: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Test accuracies (0 to 1) of one task, and of its bounds.

    `fine_tuned` is the checkpoint in torch, `linear_only` the same without its deltas of
    embeddings, biases and LayerNorms, which no method keeps; `zero_delta` its head on the base;
    `frozen_probe` a logistic regression on the base's features, None for the reason in
    `no_probe`. `shared_rows` of the calibration set are in the test set too.
    """

    task: str
    seed: int
    labels: int
    test_examples: int
    calibration_examples: int
    shared_rows: int
    fp32_bytes: int
    fine_tuned: float
    linear_only: float
    zero_delta: float
    frozen_probe: float | None
    no_probe: str | None
    points: tuple[Point, ...]

    def gain(self, accuracy: float | None) -> float | None:
        """Share kept of what full fine-tuning gains over the probe; None where that is < 2 %."""
        if accuracy is None or self.frozen_probe is None:
            return None
        most = self.fine_tuned - self.frozen_probe
        return (accuracy - self.frozen_probe) / most if most >= LEAST_GAIN else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with each point's share of the gain."""
        points = [asdict(p) | {"gain": self.gain(p.accuracy)} for p in self.points]
        return asdict(self) | {"points": points}


def grid(methods: Sequence[str], budgets: Sequence[str | int]) -> tuple[Setting, ...]:
    """Every method at every budget, and those that have one size once.

    Raises InputError `input.method`, BudgetError `budget.malformed`.
    """
    texts = [budget_text(budget) for budget in several("budgets", budgets)]
    methods = several("methods", methods)
    check_compared(methods)
    return tuple(
        (name, budget)
        for name in dict.fromkeys(methods)
        for budget in (dict.fromkeys(texts) if find_peer(name).sized else (None,))
    )


def compare(job: MethodComparison, out: str | Path, progress: Progress = silent) -> Outcome:
    """Compare, with files in `out`/files and each result kept in `out`/cells.

    Results that are there already are not computed again. Raises InputError, BudgetError,
    ModelError, DataError and OutputError; a budget that a method cannot meet is a point without
    a size.
    """
    out, settings = as_path(out, "out"), expect(job, MethodComparison, "job").texts
    expect_callable(progress, "progress")
    real_path(out)  # which refuses what no folder can be named
    check_compared([method for method, _ in settings])
    task_name(job.task)
    check_seed(job.seed)
    if job.probe is not None and job.probe_train:
        raise InputError(
            Code.INPUT_OPTIONS, "give a probe's accuracy or rows to train one on, not both"
        )
    if job.probe is not None and not 0 <= as_number(job.probe, "a probe's accuracy") <= 1:
        raise InputError(Code.INPUT_NUMBER, f"a probe's accuracy is 0 to 1, found {job.probe:g}")
    labelled = {"test set": job.test, "probe's training set": job.probe_train}
    check_pairs({"calibration set": job.calibration} | labelled)
    models = open_fine_tuned(job.base, job.tuned, progress)
    kind = models.head.kind
    if not KINDS[kind].labelled:
        raise ModelError(
            Code.MODEL_HEAD, f"{job.tuned}: classifiers of one label are compared, not {kind}"
        )
    check_differs(models.backbone, models.tuned)
    for name, examples in labelled.items():
        check_labels(Path(name), examples, models.labels)
    work = _Work(job, models, out, progress)
    references = work.references()
    # The largest first: factors and scores that it needs serve the others too.
    order = sorted(settings, key=_largest_first)
    done = {setting: work.point(*setting) for setting in progress(order, "Methods and budgets")}
    tested = {(e.text, e.text_pair) for e in job.test}
    return Outcome(
        task=job.task,
        seed=job.seed,
        labels=len(models.labels),
        test_examples=len(job.test),
        calibration_examples=len(job.calibration),
        shared_rows=sum((e.text, e.text_pair) in tested for e in job.calibration),
        fp32_bytes=fp32_bytes(job.tuned),
        **references,
        points=tuple(done[setting] for setting in settings),
    )


def _largest_first(setting: Setting) -> float:
    if setting[1] is None:
        return 0
    budget = parse_budget(setting[1])
    return -(budget.rank or budget.size or 0)


class _Work:
    """Models and test set of one comparison, opened only where a result is missing."""

    def __init__(
        self, job: MethodComparison, models: FineTuned, out: Path, progress: Progress
    ) -> None:
        self._job, self._models, self._out, self._progress = job, models, out, progress
        self._kept = KeptResults(out / "cells")
        self._opened: tuple[Source, TextSet] | None = None
        self._identity = {
            "task": job.task,
            "base": models.fingerprint,
            "tuned": fingerprint(models.tuned, models.tuned.names()),
            "test": examples_digest(job.test),
        }

    def references(self) -> dict[str, Any]:
        """Accuracies of the bounds, and why there is no probe."""
        job = self._job
        train = job.probe_train or job.calibration
        bounds = self._kept.get("bounds", self._identity)
        if bounds is None:
            bounds = self._bounds()
            self._kept.put("bounds", self._identity, bounds)
        if job.probe is not None:
            return bounds | {"frozen_probe": job.probe, "no_probe": None}
        inputs = self._identity | {"train": examples_digest(train)}
        probe = self._kept.get("probe", inputs)
        if probe is None:
            probe = self._probe(train)
            self._kept.put("probe", inputs, probe)
        return bounds | probe

    def point(self, method: str, budget: str | None) -> Point:
        """The point of one setting, from its result on disk or computed now."""
        name = method if budget is None else f"{method}-{_plain(budget)}"
        inputs = self._identity | {
            "calibration": examples_digest(self._job.calibration),
            "seed": self._job.seed,
            "method": method,
            "budget": None if budget is None else str(parse_budget(budget)),
        }
        value = self._kept.get(name, inputs)
        if value is not None and self._files_are_there(value):
            return Point(**value | {"budget": budget, "files": tuple(value["files"])})
        point = self._result(find_peer(method), budget, Path("files") / result_name(name, inputs))
        self._kept.put(name, inputs, asdict(point))
        return point

    def _result(self, method: Peer, budget: str | None, folder: Path) -> Point:
        source, test = self._open()
        start = time.process_time()
        try:
            parsed = None if budget is None else parse_budget(budget)
            compressed = method.compress(source, parsed)
        except (BudgetError, DataError, ModelError) as error:
            return Point(method.name, budget, refused=f"{error} [{error.code}]")
        seconds = time.process_time() - start
        restored = method.restore(compressed.files, self._models.backbone)
        assert source.model is not None
        if restored.over_base is None:
            with source.model.at(Dense(restored.deltas, restored.head)) as module:
                accuracy = test.accuracy(test.logits(module))
        else:
            with source.model.at(BASE) as module:
                accuracy = test.accuracy(test.logits(HeadOverBase(module, restored.over_base)))
        return Point(
            method.name,
            budget,
            size=compressed.size,
            accuracy=accuracy,
            seconds=round(seconds, 2),
            files=self._write(compressed, folder),
            detail=compressed.detail,
        )

    def _bounds(self) -> dict[str, float]:
        source, test = self._open()
        model, result = source.model, {}
        assert model is not None
        for name, weights in (
            ("fine_tuned", TUNED),
            ("linear_only", LINEAR_ONLY),
            ("zero_delta", Dense({}, source.head())),
        ):
            with model.at(weights) as module:
                logits = test.logits(module, name.replace("_", " "), self._progress)
            result[name] = test.accuracy(logits)
        return result

    def _probe(self, train: Sequence[Example]) -> dict[str, Any]:
        if any(example.label is None for example in train):
            return {"frozen_probe": None, "no_probe": "the calibration set has no labels"}
        from osd_edge.exporters.scoring.frozen_probe import frozen_probe_accuracy

        folder = find_model(str(self._job.base))
        try:
            accuracy = frozen_probe_accuracy(folder, train, self._job.test, progress=self._progress)
        except DataError as error:
            return {"frozen_probe": None, "no_probe": f"{error} [{error.code}]"}
        return {"frozen_probe": accuracy, "no_probe": None}

    def _open(self) -> tuple[Source, TextSet]:
        if self._opened is None:
            job = self._job
            options = TaskOptions(
                base=job.base,
                tuned=job.tuned,
                calibration=job.calibration,
                name=job.task,
                seed=job.seed,
            )
            source = Source(options, progress=self._progress)
            self._opened = source, TextSet(self._models, job.test)
        return self._opened

    def _write(self, compressed: Compressed, folder: Path) -> tuple[str, ...]:
        make_folder(self._out / folder)
        for file, data in compressed.files.items():
            write_file(self._out / folder / file, data)
        return tuple(str(folder / file) for file in compressed.files)

    def _files_are_there(self, value: Mapping[str, Any]) -> bool:
        """Says whether the files of a result are still there, by their size."""
        try:
            size = sum((self._out / file).stat().st_size for file in value["files"])
        except OSError:
            return False
        return bool(size == (value["size"] or 0))


def _plain(budget: str) -> str:
    """A budget as part of a file's name: `r=1` is `r1`."""
    return "".join(c for c in budget if c not in "= ")
