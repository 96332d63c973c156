"""The work of a comparison: bounds and points, each kept on disk when it is done."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from osd_edge.data.digest import file_digest
from osd_edge.data.examples import Example
from osd_edge.data.files import make_folder, write_file
from osd_edge.data.progress import Progress
from osd_edge.errors import BudgetError, DataError, ModelError, shown
from osd_edge.exporters.compare.job import MethodComparison, setting_name
from osd_edge.exporters.compare.kept_results import KeptResults, examples_digest, result_name
from osd_edge.exporters.compare.outcome import Point
from osd_edge.exporters.compare.peers.find import find_peer
from osd_edge.exporters.compare.peers.peer import Compressed, Peer
from osd_edge.exporters.compare.scored_rows import ScoredRows, ScoreWithError, rows_of
from osd_edge.exporters.methods.budget import parse_budget
from osd_edge.exporters.methods.frozen_head import HeadOverBase
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.adapter_files import ADAPTER_WEIGHTS, CONFIG
from osd_edge.exporters.models.checkpoint import find_model
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.models.fingerprint import fingerprint
from osd_edge.exporters.scoring.weight_sets import BASE, LINEAR_ONLY, TUNED, Dense

# One method's own numbers may be such that no decomposition, or no number, comes of them.
# numpy's own of linear algebra is a ValueError; torch's its type hints do not have.
ARITHMETIC = (ArithmeticError, ValueError, vars(torch.linalg)["LinAlgError"])


class Work:
    """Models and test set of one comparison, opened only where a result is missing."""

    def __init__(
        self, job: MethodComparison, models: FineTuned, out: Path, progress: Progress
    ) -> None:
        """Take the job and its opened models; results are kept in `out`/cells."""
        self._job, self._models, self._out, self._progress = job, models, out, progress
        self._kept = KeptResults(out / "cells")
        self._opened: tuple[Source, ScoredRows] | None = None
        self._likeliest: Sequence[int] = ()
        self._identity = {
            "task": job.task,
            "base": models.fingerprint,
            "tuned": _tuned_digest(job, models),
            "test": examples_digest(job.test),
            "text": models.texts.text and models.texts.text.described(),
        }

    def references(self) -> dict[str, Any]:
        """Scores of the bounds, and why there is no probe."""
        job = self._job
        train = job.probe_train or job.calibration
        bounds = self._kept.get("bounds", self._identity)
        if bounds is None:
            bounds = self._bounds()
            self._kept.put("bounds", self._identity, bounds)
        self._likeliest = bounds["likeliest"]
        scores = {name: ScoreWithError(**score) for name, score in bounds["scores"].items()}
        found = {name: score.accuracy for name, score in scores.items()} | {"scores": scores}
        if self._models.writes:
            return found | {"frozen_probe": None, "no_probe": None}
        if job.probe is not None:
            return found | {"frozen_probe": job.probe, "no_probe": None}
        inputs = self._identity | {"train": examples_digest(train)}
        probe = self._kept.get("probe", inputs)
        if probe is None:
            probe = self._probe(train)
            self._kept.put("probe", inputs, probe)
        return found | probe

    def kept(self, method: str, budget: str | None) -> Point | None:
        """The point of one setting, from its result on disk; None where there is none."""
        value = self._kept.get(*self._named(method, budget))
        if value is None or not self._files_are_there(value):
            return None
        return Point(**value | {"budget": budget, "files": tuple(value["files"])})

    def point(self, method: str, budget: str | None) -> Point:
        """The point of one setting, computed now; it is kept unless the arithmetic fails."""
        name, inputs = self._named(method, budget)
        folder = Path("files") / result_name(name, inputs)
        self._open()  # what fails here fails for every method
        try:
            point = self._result(find_peer(method), budget, folder)
        except ARITHMETIC as error:  # not kept: the same command tries it again
            return Point(method, budget, refused=_failed(error))
        self._kept.put(name, inputs, asdict(point))
        return point

    def _named(self, method: str, budget: str | None) -> tuple[str, dict[str, Any]]:
        """The name of a setting's result, and what it depends on."""
        return method if budget is None else f"{method}-{_plain(budget)}", self._identity | {
            "calibration": examples_digest(self._job.calibration),
            "seed": self._job.seed,
            "method": method,
            "budget": None if budget is None else str(parse_budget(budget)),
        }

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
        label = f"{setting_name((method.name, budget))} on test set"
        if restored.over_base is None:
            with source.model.at(Dense(restored.deltas, restored.head)) as module:
                score = test.score(module, label, self._progress)
        else:
            with source.model.at(BASE) as module:
                headed = HeadOverBase(module, restored.over_base)
                score = test.score(headed, label, self._progress)
        return Point(
            method.name,
            budget,
            size=compressed.size,
            seconds=round(seconds, 2),
            files=self._write(compressed, folder),
            detail=compressed.detail,
            **asdict(score),
        )

    def _bounds(self) -> dict[str, Any]:
        source, test = self._open()
        model = source.model
        assert model is not None
        with model.at(TUNED) as module:
            fine_tuned = test.follow(module, "fine tuned on test set", self._progress)
        linear_only = fine_tuned
        if source.left_out:  # most LoRAs change nothing else
            with model.at(LINEAR_ONLY) as module:
                linear_only = test.score(module, "linear only on test set", self._progress)
        with model.at(Dense({}, source.head())) as module:
            zero_delta = test.score(module, "zero delta on test set", self._progress)
        scores = {
            "fine_tuned": fine_tuned,
            "linear_only": linear_only,
            "zero_delta": zero_delta,
        }
        return {
            "scores": {name: asdict(score) for name, score in scores.items()},
            "likeliest": list(test.likeliest),
        }

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

    def _open(self) -> tuple[Source, ScoredRows]:
        if self._opened is None:
            source = Source(self._job.options(), progress=self._progress)
            self._opened = source, rows_of(self._models, self._job.test, self._likeliest)
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


def _tuned_digest(job: MethodComparison, models: FineTuned) -> Any:
    """The identity of a fine-tuned model: a digest; of adapters, those of files, and weights.

    Two LoRAs may be one product, and other factors.
    """
    if job.tuned is not None:
        return fingerprint(models.tuned, models.tuned.names())
    return [
        [weight, *(file_digest(Path(folder) / name) for name in (ADAPTER_WEIGHTS, CONFIG))]
        for folder, weight in job.adapters
    ]


def _failed(error: Exception) -> str:
    """Says in a row of the table that a method's arithmetic failed."""
    return (
        f"its arithmetic failed ({type(error).__name__}: {shown(str(error), 160)}); the other "
        "rows stand, and the same command tries it again"
    )


def _plain(budget: str) -> str:
    """A budget as part of a file's name: `r=1` is `r1`."""
    return "".join(c for c in budget if c not in "= ")
