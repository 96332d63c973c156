"""Coded bundles of one task: by osd-rd within a budget or for a quality, or of a head alone."""

import math
import random
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.data.sizes import format_size
from osd_edge.errors import BudgetError, Code, DataError, InputError
from osd_edge.exporters.kinds import KINDS, SEQUENCE
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.methods.frozen_head import HeadOverBase, fit_frozen_head
from osd_edge.exporters.methods.osd_rd.bfloat16 import lowered, training_dtype
from osd_edge.exporters.methods.osd_rd.compress import Change, Integers, RateDistortion
from osd_edge.exporters.methods.osd_rd.keep import CurvePoint, Gain, smallest_that_keeps
from osd_edge.exporters.methods.osd_rd.work_folder import WorkFolder
from osd_edge.exporters.methods.osd_rd.work_key import work_key
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.scoring.calibrated_task import CalibratedTask, batches_of, measure
from osd_edge.exporters.scoring.calibration import Score
from osd_edge.exporters.scoring.held_back import check_keep_rows, split
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.formats.bundle.model import CODED, Bundle, StoredHead
from osd_edge.formats.bundle.writer import write_bundle

_PADDING = 8  # bytes by which the headers of two bundles may be filled up differently
_FLOOR_ROWS = 4096  # more take longer than refining scales does, for a point or two
_WIDEST = 0.9999  # takes a score's place in the file until it is measured


@dataclass(frozen=True)
class Coded:
    """A coded bundle and what it scores on held-back rows, with the curve that `keep` saw."""

    bundle: Bundle
    score: Score | None
    curve: Sequence[CurvePoint] = ()


class CodedTask:
    """osd-rd and head-only bundles of one fine-tuned model.

    `model` may be the caller's, whose weights are then set as needed. Rows that score (`held`)
    tune nothing.
    """

    def __init__(
        self,
        models: FineTuned,
        layers: Sequence[LinearLayer],
        examples: Sequence[Example],
        model: TaskModel | None,
        seed: int = 0,
        progress: Progress = silent,
        *,
        work: WorkFolder | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Split `examples`; statistics and decompositions wait until they are needed.

        What is finished is kept in `work`, if there is one; `executor` may decompose several
        layers at once.
        """
        self._models, self._layers, self._seed = models, layers, seed
        self._tuning, self._held = split(examples, seed)
        self._model = model
        self._progress = progress
        self._work, self._executor = work, executor
        self._frozen_heads: dict[int, StoredHead] = {}  # by the number of rows
        self._floors: dict[bool, Score] = {}  # by whether they are quick ones

    @cached_property
    def measured(self) -> CalibratedTask | None:
        """The model with the held-back rows; None where there are none."""
        if not self._held:
            return None
        return measure(self._models, self._held, self._progress, model=self._model)

    def frozen_head(self, *, quick: bool) -> StoredHead | None:
        """A head over the frozen base, fitted on the rows that tune; None without any.

        `quick` takes as many of them as a floor to compare with needs, not all.
        """
        if self._model is None:
            return None
        rows = self._tuning
        if quick and len(rows) > _FLOOR_ROWS:
            rows = tuple(random.Random(self._seed).sample(rows, _FLOOR_ROWS))
        if len(rows) not in self._frozen_heads:
            decoder = self._models.backbone.family.heads[SEQUENCE].pooling == "last"
            batches = batches_of(self._models, rows)
            with lowered(self._model.module, training_dtype(), only_streamed=True):
                self._frozen_heads[len(rows)] = fit_frozen_head(self._model, batches, decoder)
        return self._frozen_heads[len(rows)]

    def frozen_score(self, *, quick: bool) -> Score | None:
        """What the frozen head scores on held-back rows."""
        head = self.frozen_head(quick=quick)
        if self.measured is None or head is None or self._model is None:
            return None
        if quick not in self._floors:
            over_base = HeadOverBase(self._model, head.decode())
            score = self.measured.calibration.score(over_base, "Frozen head on calibration set")
            self._floors[quick] = score
        return self._floors[quick]

    @cached_property
    def pipeline(self) -> RateDistortion:
        """Statistics on the rows that tune, and whitened columns of every site."""
        order = {layer.name: i for i, layer in enumerate(self._models.backbone.layers)}
        places = {layer.name: order[layer.name] for layer in self._layers}
        work = self._work
        if work is not None:
            work.key = work_key(
                self._models, list(places), self._tuning, self._seed, self._progress
            )
        return RateDistortion(
            self._models,
            places,
            self._model,
            self._tuning,
            self._seed,
            self._progress,
            work=work,
            executor=self._executor,
        )

    def head_only(self, task: str) -> Coded:
        """The bundle of the frozen head.

        Raises DataError `data.calibration-needed`, InputError `input.options` for an embedding.
        """
        if KINDS[self._models.head.kind].format.vector:
            raise InputError(
                Code.INPUT_OPTIONS,
                "an embedding without a delta is the base's own: no bundle needed",
            )
        head = self.frozen_head(quick=False)
        if head is None:
            raise calibration_needed("a head-only bundle")
        bundle = self._bundle(task, Integers((), ()), "head", None)
        return self._scored(replace(bundle, head=head), self.frozen_score(quick=False))

    def within(
        self,
        task: str,
        budget: Budget,
        refine: str,
        progress: Progress = silent,
        change: Change | None = None,
    ) -> Coded:
        """osd-rd within `budget`; `change` as for `RateDistortion.compress`.

        Raises BudgetError `budget.too-small`, DataError `data.calibration-needed`.
        """
        self._check(refine)
        allowed = None
        if budget.rank is not None:
            rank = budget.rank
            allowed = sum(layer_bits(rank, layer.n, layer.d) for layer in self._layers) // 8
        made = self._attempt(task, budget.size, allowed, refine, progress, change)
        if made is None:
            raise self._too_small(task, budget, allowed, refine)
        return made

    def _too_small(
        self, task: str, budget: Budget, allowed: int | None, refine: str
    ) -> BudgetError:
        """The refusal of a budget; `allowed` are the bytes of the linear layers alone."""
        if allowed is not None:
            why = (
                f"{budget} leaves the linear layers {allowed} bytes, and a delta takes more: give "
                "a larger r, or bytes of the whole file such as 16KiB"
            )
        else:
            smallest = len(write_bundle(self._placeholder(task, self.pipeline.smallest(), refine)))
            named = f"{format_size(smallest)} ({smallest} bytes)"
            if budget.size is not None and smallest <= budget.size:
                why = (
                    f"a budget of {budget} holds this task's smallest bundle, {named}, but not "
                    f"what --refine {refine} makes of it: give some more bytes, or --refine none"
                )
            else:
                why = (
                    f"a budget of {budget} is less than the smallest bundle of this task, "
                    f"{named}, of which its head takes most: give at least that"
                )
        return BudgetError(Code.BUDGET_TOO_SMALL, why)

    def keeping(self, task: str, keep: float, refine: str, progress: Progress = silent) -> Coded:
        """The smallest osd-rd bundle that keeps the share `keep` of the gain on held-back rows.

        Raises DataError `data.few-rows`, `data.no-gain`; BudgetError `budget.keep`.
        """
        self._check(refine)
        check_keep_rows(len(self._tuning) + len(self._held))
        gain = self.gain(quick=False)
        assert gain is not None, "rows are held back of that many"
        if gain.ceiling - gain.floor < 1 / gain.rows:
            raise DataError(
                Code.DATA_NO_GAIN,
                f"a head on the frozen base is as good on {gain.rows} held-back rows "
                f"({gain.floor:.1%}) as the fine-tuned model ({gain.ceiling:.1%}): "
                "use --method head",
            )

        def attempt(size: int) -> tuple[Coded, CurvePoint] | None:
            made = self._attempt(task, size, None, refine, progress)
            if made is None or made.score is None:
                return None
            accuracy = made.score.accuracy
            bytes_ = len(write_bundle(made.bundle))
            return made, CurvePoint(bytes_, accuracy, gain.share(accuracy))

        best, curve = smallest_that_keeps(keep, attempt, progress)
        return replace(best, curve=tuple(curve))

    def gain(self, *, quick: bool) -> Gain | None:
        """The gain of fine-tuning over the frozen head on held-back rows; None without rows."""
        floor = self.frozen_score(quick=quick)
        if self.measured is None or floor is None:
            return None
        ceiling = self.measured.fine_tuned.accuracy
        return Gain(floor.accuracy, ceiling, self.measured.calibration.examples)

    def _attempt(
        self,
        task: str,
        size: int | None,
        allowed: int | None,
        refine: str,
        progress: Progress,
        change: Change | None = None,
    ) -> Coded | None:
        def fits(integers: Integers) -> bool:
            whole = len(write_bundle(self._placeholder(task, integers, refine)))
            if allowed is None:
                return size is not None and whole <= size
            head = self._placeholder(task, replace(integers, sites=()), refine)
            return whole - len(write_bundle(head)) <= allowed - _PADDING

        # A value other than zero takes a bit for its sign alone.
        bytes_ = allowed if size is None else size
        most = math.inf if bytes_ is None else 8 * bytes_
        integers = self.pipeline.compress(fits, refine, progress, change, most)
        if integers is None:
            return None
        bundle = self._bundle(task, integers, "osd-rd", refine)
        score = None
        if self.measured is not None:
            score = self.measured.score(bundle.sites, bundle.head, progress)
        return self._scored(bundle, score)

    def _check(self, refine: str) -> None:
        if refine != "none" and self._model is None:
            raise calibration_needed(f"--refine {refine}")

    def _bundle(self, task: str, integers: Integers, method: str, refine: str | None) -> Bundle:
        plan = self._models.head
        described: dict[str, Any] = {"name": method} | ({"refine": refine} if refine else {})
        if self._model is not None and self._model.weights != "fp32":
            described["base_weights"] = self._model.weights  # what it was tuned for
        return Bundle(
            task=task,
            task_version="1",
            labels=self._models.labels,
            base=self._models.fingerprint,
            site_count=len(self._models.backbone.layers),
            values=CODED,
            sites=integers.sites,
            head=StoredHead(plan.kind, plan.pooling, integers.layers, plan.normalize),
            method=described,
        )

    def _placeholder(self, task: str, integers: Integers, refine: str) -> Bundle:
        """The bundle with the widest scores: no smaller than it will be."""
        widest = Score(0.0, _WIDEST) if self._held else None
        return self._scored(self._bundle(task, integers, "osd-rd", refine), widest).bundle

    def _scored(self, bundle: Bundle, score: Score | None) -> Coded:
        if score is None or self.measured is None:
            return Coded(bundle, score)
        scores = {
            "rows": self.measured.calibration.examples,
            "labelled": self.measured.calibration.labelled,
            "fine_tuned": round(self.measured.fine_tuned.accuracy, 4),
            "compressed": round(score.accuracy, 4),
        }
        return Coded(replace(bundle, scores=scores), score)


def calibration_needed(what: str, instead: str = "use --refine none") -> DataError:
    """The refusal of what cannot be done without a calibration set."""
    return DataError(
        Code.DATA_CALIBRATION_NEEDED,
        f"{what} needs a calibration set: give --calibration FILE (.tsv or .txt, labels are "
        f"not needed), or {instead}",
    )
