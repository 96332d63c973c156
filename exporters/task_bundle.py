"""`export task`: a fine-tuned model becomes a task bundle over its base.

The data's way: both checkpoints → truncated SVD of each site's delta → what the method keeps of
it within the budget → values in their type → bundle file, with its score on the calibration set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from osd_edge.bundle import Bundle, SiteDelta, write_bundle
from osd_edge.errors import DataError, ModelError
from osd_edge.examples import Example
from osd_edge.exporters import methods
from osd_edge.exporters.backbone import LinearLayer
from osd_edge.exporters.base_package import choose_sites
from osd_edge.exporters.budget import Budget, layer_bits
from osd_edge.exporters.calibration import Score
from osd_edge.exporters.factorize import (
    Factors,
    Spectrum,
    changed_layers,
    factorize_sites,
    spectra_of_sites,
)
from osd_edge.exporters.fit import (
    Problem,
    columns_needed,
    columns_within,
    fit_sparse,
    fit_truncated,
)
from osd_edge.exporters.head import HeadOptions, code_head
from osd_edge.exporters.importance import importance_scores
from osd_edge.exporters.measured import Measured, measure, read_calibration
from osd_edge.exporters.options import Options, check_options
from osd_edge.exporters.pair import Pair, open_pair
from osd_edge.exporters.rd.coded_task import CodedTask, calibration_needed
from osd_edge.exporters.report import TaskReport
from osd_edge.exporters.sparsify import magnitude_scores
from osd_edge.files import write_file
from osd_edge.progress import Progress, silent

_HEAD_SHARE = 4  # big head layers may take a quarter of a budget in bytes
_WIDEST = Score(99.9999, 0.9999)  # takes a score's place in the file until it is measured


class TaskExporter:
    """Bundles of one fine-tuned model: what several exports share is computed once."""

    def __init__(
        self,
        base: str | Path,
        tuned: str | Path,
        *,
        calibration: Path | Sequence[Example] | None = None,
        sites: Sequence[str] = ("*",),
        progress: Progress = silent,
    ) -> None:
        """Open both models and the calibration set. Raises ModelError, DataError, InputError.

        `sites` are globs over the linear layers that may carry a delta.
        """
        self._pair = open_pair(base, tuned, progress)
        examples = None
        if calibration is not None:
            examples = read_calibration(calibration, self._pair.labels)
        chosen = choose_sites(self._pair.backbone, sites)
        self._layers = changed_layers(self._pair.backbone, self._pair.tuned, chosen)
        if not self._layers:
            raise ModelError("model.same", "the chosen layers are the base's own: no delta")
        places = {layer.name: i for i, layer in enumerate(self._pair.backbone.layers)}
        self._places = {layer.name: places[layer.name] for layer in self._layers}
        self._spectra: dict[str, Spectrum] = {}
        self._factors: dict[str, Factors] = {}
        self._columns: dict[str, int] = {}
        self._importance: methods.Scores = {}
        self._examples = examples or ()
        self._coded_tasks: dict[int, CodedTask] = {}
        self._measured = measure(self._pair, examples, progress) if examples else None

    @property
    def pair(self) -> Pair:
        """Both models."""
        return self._pair

    @property
    def layers(self) -> tuple[LinearLayer, ...]:
        """The sites that may carry a delta, in the base's order."""
        return self._layers

    @property
    def measured(self) -> Measured | None:
        """The task's torch model with the calibration set, where there is one."""
        return self._measured

    def export(
        self,
        out: Path,
        *,
        method: str = methods.OSD_RD,
        budget: str | Budget | None = None,
        keep: float | None = None,
        refine: str | None = None,
        values: str | None = None,
        name: str | None = None,
        head: HeadOptions | None = None,
        extra_rank: int | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> TaskReport:
        """Write one bundle to the file `out`, whose name names the task unless `name` does.

        For osd-rd: `budget` (16KiB unless given) or `keep`, the share of the gain over a frozen
        head that the smallest file must keep; `refine` is `none`, `scales` (unless given) or
        `codes`; `seed` draws the rows held back. For the paper's methods: `budget` (r=1 unless
        given), `values` (fp32 unless given), `head`, and `extra_rank`, which fixes c in
        k = r + c, otherwise chosen by calibration loss. Raises BudgetError, DataError,
        InputError, OutputError.
        """
        options = check_options(
            out,
            method=method,
            budget=budget,
            keep=keep,
            refine=refine,
            values=values,
            name=name,
            head=head,
            extra_rank=extra_rank,
        )
        if method in methods.PAPER_METHODS:
            return self._paper(out, options, head, extra_rank, progress)
        return self._coded(out, options, seed, progress)

    def coded_task(self, seed: int, progress: Progress = silent) -> CodedTask:
        """What exports of osd-rd with one `seed` share."""
        if seed not in self._coded_tasks:
            model = self._measured.model if self._measured else None
            self._coded_tasks[seed] = CodedTask(
                self._pair, self._layers, self._examples, model, seed, progress
            )
        return self._coded_tasks[seed]

    def _coded(self, out: Path, options: Options, seed: int, progress: Progress) -> TaskReport:
        """osd-rd, or a head alone."""
        coded = self.coded_task(seed, progress)
        refine = None
        if options.method == methods.HEAD:
            made = coded.head_only(options.task)
        else:
            refine = options.refine or ("scales" if self._measured else "none")
            if options.keep is not None:
                made = coded.keeping(options.task, options.keep, refine, progress)
            else:
                made = coded.within(options.task, options.budget, refine, progress)
        data = write_bundle(made.bundle)
        write_file(out, data)
        head_size = len(write_bundle(replace(made.bundle, sites=())))
        measured, gain = coded.measured, coded.gain()
        useful = gain is not None and gain.ceiling > gain.floor
        return TaskReport(
            path=str(out),
            task=options.task,
            method=options.method,
            budget=str(options.budget) if options.budget_given else "",
            values=made.bundle.values,
            extra_rank=None,
            size=len(data),
            head_size=head_size,
            delta_size=len(data) - head_size,
            paper_bits=None,
            paper_bits_allowed=None,
            sites=len(made.bundle.sites),
            calibration_examples=len(self._examples),
            labelled=bool(measured and measured.calibration.labelled),
            fine_tuned=measured.fine_tuned if measured else None,
            linear_only=measured.linear_only if measured else None,
            compressed=made.score,
            refine=refine,
            keep=options.keep,
            held_back=measured.calibration.examples if measured else 0,
            frozen_head=coded.frozen_score,
            share=gain.share(made.score.accuracy) if useful and gain and made.score else None,
            share_error=gain.error if useful and gain else None,
            curve=made.curve,
        )

    def _paper(
        self,
        out: Path,
        chosen: Options,
        head: HeadOptions | None,
        extra_rank: int | None,
        progress: Progress,
    ) -> TaskReport:
        """truncsvd, magtruncsvd or osd."""
        method, budget, values = chosen.method, chosen.budget, chosen.values
        labelled = self._measured is not None and self._measured.calibration.labelled
        if method == "osd" and not labelled:
            raise _labels_needed()
        options = head or HeadOptions()
        if budget.size is not None and options.max_bytes is None:
            options = replace(options, max_bytes=budget.size // _HEAD_SHARE)
        bundle = Bundle(
            task=chosen.task,
            task_version="1",
            labels=self._pair.labels,
            base=self._pair.fingerprint,
            site_count=len(self._pair.backbone.layers),
            values=values,
            sites=(),
            head=code_head(self._pair.backbone, self._pair.tuned, options),
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
                self._pair.backbone, self._pair.tuned, self._layers, progress
            )
            needed = columns_within(budget, values, self._spectra)
        else:
            needed = columns_needed(method, budget, values, extra_rank, self._layers)
        if any(needed[name] > self._columns.get(name, 0) for name in needed):
            self._columns = {n: max(k, self._columns.get(n, 0)) for n, k in needed.items()}
            self._factors = factorize_sites(
                self._pair.backbone, self._pair.tuned, self._columns, progress
            )
            self._importance = {}
        return self._factors

    def _element_scores(self, method: str, progress: Progress) -> methods.Scores:
        if method == "truncsvd":
            return {}
        if method == "magtruncsvd":
            return {name: magnitude_scores(f) for name, f in self._factors.items()}
        if not self._importance:
            assert self._measured is not None
            self._importance = importance_scores(
                self._measured.model,
                self._pair.backbone,
                self._measured.calibration,
                self._factors,
                progress,
            )
        return self._importance

    def _fit(
        self, problem: Problem, bundle: Bundle, extra_rank: int | None, progress: Progress
    ) -> tuple[list[SiteDelta], int | None]:
        """Sites within the budget, and the c they have; the best c by calibration loss."""
        if problem.method == "truncsvd":
            return fit_truncated(problem), None
        if extra_rank is None and self._measured is None:
            extra_rank = methods.DEFAULT_EXTRA
        if extra_rank is not None:
            return fit_sparse(problem, extra_rank, progress), extra_rank
        candidates = []
        for extra in progress(methods.EXTRA_RANKS, f"Choosing c for {problem.method}"):
            sites = fit_sparse(problem, extra)
            score = self._score(sites, bundle, silent)
            assert score is not None
            candidates.append((score.loss, extra, sites))
        _, extra, sites = min(candidates, key=lambda candidate: candidate[:2])
        return sites, extra

    def _score(
        self, sites: Sequence[SiteDelta], bundle: Bundle, progress: Progress
    ) -> Score | None:
        if self._measured is None:
            return None
        return self._measured.score(sites, bundle.head, progress)

    def _complete(
        self, bundle: Bundle, sites: Sequence[SiteDelta], extra: int | None, score: Score | None
    ) -> Bundle:
        """The bundle with its sites, and what people will want to know of it."""
        method = dict(bundle.method) | {
            "paper_bits": methods.total_paper_bits(bundle.method["name"], sites, bundle.values)
        }
        if extra is not None and method["name"] != "truncsvd":
            method["c"] = extra
        scores: dict[str, Any] = {}
        if self._measured is not None and score is not None:
            scores = {
                "examples": self._measured.calibration.examples,
                "labelled": self._measured.calibration.labelled,
                "fine_tuned": _rounded(self._measured.fine_tuned),
                "linear_only": _rounded(self._measured.linear_only),
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
        measured = self._measured
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


def export_task(
    base: str | Path,
    tuned: str | Path,
    out: Path,
    *,
    method: str = methods.OSD_RD,
    budget: str | Budget | None = None,
    keep: float | None = None,
    refine: str | None = None,
    values: str | None = None,
    calibration: Path | Sequence[Example] | None = None,
    sites: Sequence[str] = ("*",),
    name: str | None = None,
    head: HeadOptions | None = None,
    extra_rank: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> TaskReport:
    """Write the bundle of the classifier `tuned`, fine-tuned from `base`, to the file `out`.

    `calibration` is a file of examples, or the examples; `osd` needs labelled ones, osd-rd any.
    The other options are those of `TaskExporter.export`. Raises an OsdEdgeError that says what
    is wrong, and then writes no file.
    """
    # What needs no model is checked before minutes of work.
    check_options(
        out,
        method=method,
        budget=budget,
        keep=keep,
        refine=refine,
        values=values,
        name=name,
        head=head,
        extra_rank=extra_rank,
    )
    if calibration is None:
        if method == "osd":
            raise _labels_needed()
        if method == methods.HEAD:
            raise calibration_needed("a head-only bundle")
        if keep is not None or (refine or "none") != "none":
            raise calibration_needed("--keep" if keep is not None else f"--refine {refine}")
    exporter = TaskExporter(base, tuned, calibration=calibration, sites=sites, progress=progress)
    return exporter.export(
        out,
        method=method,
        budget=budget,
        keep=keep,
        refine=refine,
        values=values,
        name=name,
        head=head,
        extra_rank=extra_rank,
        seed=seed,
        progress=progress,
    )


def _labels_needed() -> DataError:
    return DataError(
        "data.labels-needed",
        "osd ranks by gradients of the loss and needs a labelled calibration set "
        "(--calibration FILE.tsv); osd-rd needs no labels",
    )


def _rounded(score: Score) -> dict[str, float]:
    return {"loss": round(min(score.loss, _WIDEST.loss), 4), "accuracy": round(score.accuracy, 4)}
