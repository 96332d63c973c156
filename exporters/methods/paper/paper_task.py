"""Bundles by the paper's methods: truncsvd, magtruncsvd and osd, of one fine-tuned model.

The data's way: truncated SVD of each site's delta → what the method keeps of it within the
budget → values in their type → bundle file, with its score on the calibration set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from osd_edge.data.examples import Example
from osd_edge.data.files import write_file
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError, ModelError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.methods.factorize import (
    Factors,
    Spectrum,
    factorize_sites,
    spectra_of_sites,
)
from osd_edge.exporters.methods.options import Options
from osd_edge.exporters.methods.paper import selection as methods
from osd_edge.exporters.methods.paper.budget_search import (
    Problem,
    columns_needed,
    columns_within,
    search_sparse,
    search_truncated,
)
from osd_edge.exporters.methods.paper.importance import importance_scores
from osd_edge.exporters.methods.paper.sparsify import magnitude_scores
from osd_edge.exporters.methods.report import TaskReport
from osd_edge.exporters.methods.stored.head import HeadOptions, stored_head
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.scoring.calibrated_task import CalibratedTask, evenly_spaced, measure
from osd_edge.exporters.scoring.calibration import Score
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.plain import PlainSite
from osd_edge.formats.bundle.writer import write_bundle

MOST_ROWS = 512  # of a calibration set; more change neither gradients nor the choice of c
_HEAD_SHARE = 4  # big head layers may take a quarter of a budget in bytes
_WIDEST = Score(99.9999, 0.9999)  # takes a score's place in the file until it is measured


class PaperTask:
    """What exports by the paper's methods share. `model`, if given, is set as needed."""

    def __init__(
        self,
        models: FineTuned,
        layers: Sequence[LinearLayer],
        examples: Sequence[Example],
        model: TaskModel | None,
        progress: Progress = silent,
    ) -> None:
        """Take up to `MOST_ROWS` of `examples`, evenly spaced; nothing is computed yet."""
        self._models, self._layers, self._model, self._progress = models, layers, model, progress
        self._examples = evenly_spaced(examples, MOST_ROWS)
        places = {layer.name: i for i, layer in enumerate(models.backbone.layers)}
        self._places = {layer.name: places[layer.name] for layer in layers}
        self._spectra: dict[str, Spectrum] = {}
        self._factors: dict[str, Factors] = {}
        self._columns: dict[str, int] = {}
        self._importance: methods.Scores = {}

    @cached_property
    def measured(self) -> CalibratedTask | None:
        """The model with the rows that score it; None without calibration data."""
        if self._model is None:
            return None
        return measure(self._models, self._examples, self._progress, self._model)

    def export(
        self,
        out: Path,
        chosen: Options,
        head: HeadOptions | None,
        extra_rank: int | None,
        progress: Progress,
    ) -> TaskReport:
        """Write one bundle; raises BudgetError, DataError, OutputError."""
        method, budget, values = chosen.method, chosen.budget, chosen.values
        kind = self._models.head.kind
        if method == "osd" and not KINDS[kind].labelled:
            raise ModelError(
                Code.MODEL_HEAD,
                f"osd ranks by gradients of a classifier's loss on one label, and this task is "
                f"{kind}: use osd-rd, truncsvd or magtruncsvd",
            )
        if method == "osd" and (
            self._model is None or any(e.label is None for e in self._examples)
        ):
            raise labels_needed()
        options = head or HeadOptions()
        if budget.size is not None and options.max_bytes is None:
            options = replace(options, max_bytes=budget.size // _HEAD_SHARE)
        bundle = Bundle(
            task=chosen.task,
            task_version="1",
            labels=self._models.labels,
            base=self._models.fingerprint,
            site_count=len(self._models.backbone.layers),
            values=values,
            sites=(),
            head=stored_head(self._models.tuned, self._models.head, options),
            method={"name": method} | ({"budget": str(budget)} if budget.rank else {}),
        )
        factors = self._factorized(method, budget, values, extra_rank, progress)
        problem = Problem(
            method,
            budget,
            values,
            factors,
            self._places,
            size_of=lambda sites: len(write_bundle(self._complete(bundle, sites, 99, _WIDEST))),
            scores=self._element_scores(method, progress),
        )
        sites, extra = self._fit(problem, bundle, extra_rank, progress)
        score = self._score(sites, bundle, progress)
        bundle = self._complete(bundle, sites, extra, score)
        data = write_bundle(bundle)
        write_file(out, data)
        return self._report(out, bundle, len(data), budget, extra, score)

    def _factorized(
        self,
        method: str,
        budget: Budget,
        values: str,
        extra_rank: int | None,
        progress: Progress,
    ) -> Mapping[str, Factors]:
        if method == "truncsvd" and budget.size is not None:
            self._spectra = self._spectra or spectra_of_sites(
                self._models.backbone, self._models.tuned, self._layers, progress
            )
            needed = columns_within(budget, values, self._spectra)
        else:
            needed = columns_needed(method, budget, values, extra_rank, self._layers)
        if any(needed[name] > self._columns.get(name, 0) for name in needed):
            self._columns = {n: max(k, self._columns.get(n, 0)) for n, k in needed.items()}
            self._factors = factorize_sites(
                self._models.backbone, self._models.tuned, self._columns, progress
            )
            self._importance = {}
        return self._factors

    def _element_scores(self, method: str, progress: Progress) -> methods.Scores:
        if method == "truncsvd":
            return {}
        if method == "magtruncsvd":
            return {name: magnitude_scores(f) for name, f in self._factors.items()}
        if not self._importance:
            assert self.measured is not None
            self._importance = importance_scores(
                self.measured.model,
                self._models.backbone,
                self.measured.calibration,
                self._factors,
                progress,
            )
        return self._importance

    def _fit(
        self, problem: Problem, bundle: Bundle, extra_rank: int | None, progress: Progress
    ) -> tuple[list[PlainSite], int | None]:
        """Sites within the budget, and the c they have; the best c by calibration loss."""
        if problem.method == "truncsvd":
            return search_truncated(problem), None
        if extra_rank is None and self.measured is None:
            extra_rank = methods.DEFAULT_EXTRA
        if extra_rank is not None:
            return search_sparse(problem, extra_rank, progress), extra_rank
        candidates = []
        for extra in progress(methods.EXTRA_RANKS, f"Choosing c for {problem.method}"):
            sites = search_sparse(problem, extra)
            score = self._score(sites, bundle, silent)
            assert score is not None
            candidates.append((score.loss, extra, sites))
        _, extra, sites = min(candidates, key=lambda candidate: candidate[:2])
        return sites, extra

    def _score(
        self, sites: Sequence[PlainSite], bundle: Bundle, progress: Progress
    ) -> Score | None:
        if self.measured is None:
            return None
        return self.measured.score(sites, bundle.head, progress)

    def _complete(
        self, bundle: Bundle, sites: Sequence[PlainSite], extra: int | None, score: Score | None
    ) -> Bundle:
        """The bundle with its sites, and what people will want to know of it."""
        method = dict(bundle.method) | {
            "paper_bits": methods.total_paper_bits(bundle.method["name"], sites, bundle.values)
        }
        if extra is not None and method["name"] != "truncsvd":
            method["c"] = extra
        scores: dict[str, Any] = {}
        if self.measured is not None and score is not None:
            scores = {
                "examples": self.measured.calibration.examples,
                "labelled": self.measured.calibration.labelled,
                "fine_tuned": _rounded(self.measured.fine_tuned),
                "linear_only": _rounded(self.measured.linear_only),
                "compressed": _rounded(score),
            }
        return replace(bundle, sites=tuple(sites), method=method, scores=scores)

    def _report(
        self,
        out: Path,
        bundle: Bundle,
        size: int,
        budget: Budget,
        extra: int | None,
        score: Score | None,
    ) -> TaskReport:
        measured = self.measured
        head_size = len(write_bundle(replace(bundle, sites=())))
        allowed = None
        if budget.rank is not None:
            allowed = sum(layer_bits(budget.rank, layer.n, layer.d) for layer in self._layers)
        return TaskReport(
            path=str(out),
            task=bundle.task,
            method=bundle.method["name"],
            budget=str(budget),
            values=bundle.values,
            extra_rank=extra,
            size=size,
            head_size=head_size,
            delta_size=size - head_size,
            paper_bits=bundle.method["paper_bits"],
            paper_bits_allowed=allowed,
            sites=len(bundle.sites),
            calibration_examples=measured.calibration.examples if measured else 0,
            labelled=bool(measured and measured.calibration.labelled),
            fine_tuned=measured.fine_tuned if measured else None,
            linear_only=measured.linear_only if measured else None,
            compressed=score,
        )


def labels_needed() -> DataError:
    """The refusal of osd without labels."""
    return DataError(
        Code.DATA_LABELS_NEEDED,
        "osd ranks by gradients of the loss and needs a labelled calibration set "
        "(--calibration FILE.tsv); osd-rd needs no labels",
    )


def _rounded(score: Score) -> dict[str, float]:
    return {"loss": round(min(score.loss, _WIDEST.loss), 4), "accuracy": round(score.accuracy, 4)}
