"""The paper's methods: truncsvd, magtruncsvd and osd, each as a task bundle of dense values.

The data's way: truncated SVD of each site's delta → what the method keeps of it within the
budget → values in their type → a bundle, with its score on the calibration set.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError, ModelError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.budget import layer_bits
from osd_edge.exporters.methods.factorize import Factors
from osd_edge.exporters.methods.head_options import HeadOptions
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.paper import selection
from osd_edge.exporters.methods.paper.budget_search import (
    Problem,
    columns_needed,
    columns_within,
    search_sparse,
    search_truncated,
)
from osd_edge.exporters.methods.paper.shared import PaperSource
from osd_edge.exporters.methods.paper.sparsify import magnitude_scores
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.head import stored_head
from osd_edge.exporters.scoring.familiar_rows import familiarity
from osd_edge.exporters.scoring.score import Score
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.plain import PlainSite
from osd_edge.formats.bundle.writer import write_bundle

_HEAD_SHARE = 4  # big head layers may take a quarter of a budget in bytes
_WIDEST = Score(99.9999, 0.9999)  # takes a score's place in the file until it is measured
_WIDEST_EXTRA = 99  # and this that of c


@dataclass(frozen=True)
class Export:
    """One export: what its steps share. `bundle` is what it will be, but for sites and scores."""

    paper: PaperSource
    options: TaskOptions
    bundle: Bundle
    progress: Progress

    @property
    def values(self) -> str:
        """The type of the delta's values."""
        return self.bundle.values

    def score(self, sites: Sequence[PlainSite], progress: Progress) -> Score | None:
        """The score of these sites on the calibration rows; None without any."""
        calibrated = self.paper.calibrated
        return None if calibrated is None else calibrated.score(sites, self.bundle.head, progress)


class PaperMethod(Method):
    """The steps that the three methods share; each says which columns it needs and keeps."""

    has_extra = True  # a relaxed rank k = r + c

    def make(self, source: Source, task: str, options: TaskOptions, progress: Progress) -> Made:
        """Spend the budget; raises BudgetError `budget.too-small`."""
        paper = source.shared(PaperSource)
        self.check_source(paper)
        export = Export(paper, options, self._empty(source, task, options), progress)
        factors = paper.factors(self.columns(export), progress)
        problem = Problem(
            options.method,
            options.limit,
            export.values,
            factors,
            source.site_index,
            size_of=lambda sites: len(
                write_bundle(self._complete(export, sites, _WIDEST_EXTRA, _WIDEST))
            ),
            scores=self.element_scores(export, factors),
        )
        sites, extra = self.keep(export, problem)
        scored = paper.scored
        score = None if scored is None else scored.score(sites, export.bundle.head, progress)
        bundle = self._complete(export, sites, extra, score)
        return Made(bundle, scored, score, _facts(export, bundle, extra))

    def check_source(self, paper: PaperSource) -> None:
        """Refuse a task that the method cannot compress: ModelError, DataError."""

    @abstractmethod
    def columns(self, export: Export) -> dict[str, int]:
        """The number of columns of each site's SVD that the search may ask for."""

    def element_scores(self, export: Export, factors: Mapping[str, Factors]) -> selection.Scores:
        """Scores of the elements of the factors; nothing where columns are kept whole."""
        return {}

    @abstractmethod
    def keep(self, export: Export, problem: Problem) -> tuple[list[PlainSite], int | None]:
        """The sites within the budget, and the c that they have, None where there is no c."""

    @abstractmethod
    def bits(self, sites: Sequence[PlainSite], values: str) -> int:
        """The paper's count of bits over all sites."""

    def _empty(self, source: Source, task: str, options: TaskOptions) -> Bundle:
        budget, head = options.limit, options.head or HeadOptions()
        if budget.size is not None and head.max_bytes is None:
            head = replace(head, max_bytes=budget.size // _HEAD_SHARE)
        models = source.models
        described = {"name": options.method} | ({"budget": str(budget)} if budget.rank else {})
        stored = stored_head(models.tuned, models.head, head)
        return source.bundle(task, options.values or "fp32", stored, described)

    def _complete(
        self, export: Export, sites: Sequence[PlainSite], extra: int | None, score: Score | None
    ) -> Bundle:
        """The bundle with its sites, and what people will want to know of it."""
        bundle, calibrated = export.bundle, export.paper.scored
        method = dict(bundle.method) | {"paper_bits": self.bits(sites, bundle.values)}
        if extra is not None and self.has_extra:
            method["c"] = extra
        scores: dict[str, Any] = {}
        if calibrated is not None and score is not None:
            scores = {
                "examples": calibrated.calibration.examples,
                "labelled": calibrated.calibration.labelled,
                "fine_tuned": _rounded(calibrated.fine_tuned),
                "linear_only": _rounded(calibrated.linear_only),
                "compressed": _rounded(score),
            }
        return replace(bundle, sites=tuple(sites), method=method, scores=scores)


class TruncSvd(PaperMethod):
    """Leading columns, dense."""

    has_extra = False

    def columns(self, export: Export) -> dict[str, int]:
        """The number of columns of each layer that the budget could hold."""
        budget = export.options.limit
        if budget.size is not None:
            spectra = export.paper.spectra(export.progress)
            return columns_within(budget, export.values, spectra)
        return columns_needed(budget, export.values, 0, export.paper.source.layers)

    def keep(self, export: Export, problem: Problem) -> tuple[list[PlainSite], int | None]:
        """Whole columns, best first."""
        return search_truncated(problem), None

    def bits(self, sites: Sequence[PlainSite], values: str) -> int:
        """The bits of dense columns."""
        return selection.dense_bits(sites, values)


class MagTruncSvd(PaperMethod):
    """k = r + c columns, and of both factors the elements of largest magnitude."""

    def columns(self, export: Export) -> dict[str, int]:
        """k of each layer, for the largest c that is tried."""
        options, layers = export.options, export.paper.source.layers
        extra = max(selection.EXTRA_RANKS) if options.extra_rank is None else options.extra_rank
        return columns_needed(options.limit, export.values, extra, layers)

    def element_scores(self, export: Export, factors: Mapping[str, Factors]) -> selection.Scores:
        """Magnitudes."""
        return {name: magnitude_scores(f) for name, f in factors.items()}

    def keep(self, export: Export, problem: Problem) -> tuple[list[PlainSite], int | None]:
        """The best elements; of several c the best by calibration loss."""
        extra = export.options.extra_rank
        if extra is None and export.paper.calibrated is None:
            extra = selection.DEFAULT_EXTRA
        if extra is not None:
            return search_sparse(problem, extra, export.progress), extra
        candidates = []
        for extra in export.progress(
            selection.EXTRA_RANKS, f"Choosing c for {export.options.method}"
        ):
            sites = search_sparse(problem, extra)
            score = export.score(sites, silent)
            assert score is not None
            candidates.append((score.loss, extra, sites))
        _, extra, sites = min(candidates, key=lambda candidate: candidate[:2])
        return sites, extra

    def bits(self, sites: Sequence[PlainSite], values: str) -> int:
        """μ, the values and the indices of the elements that are kept."""
        return selection.sparse_bits(sites, values)


class Osd(MagTruncSvd):
    """k = r + c columns, and the elements that matter most to the loss on labelled rows."""

    def check(self, options: TaskOptions) -> None:
        """Refuse (DataError `data.labels-needed`) an export without calibration rows."""
        if options.calibration is None:
            raise labels_needed()

    def check_source(self, paper: PaperSource) -> None:
        """Refuse a kind whose rows have no right answer, and rows without theirs."""
        kind = KINDS[paper.source.models.head.kind]
        if not (kind.labelled or kind.format.writes):
            raise ModelError(
                Code.MODEL_HEAD,
                "osd ranks by gradients of the loss on right answers, a label or a completion, and "
                f"this task is {kind.name}: use osd-rd, truncsvd or magtruncsvd",
            )
        if not paper.labelled:
            raise labels_needed()

    def element_scores(self, export: Export, factors: Mapping[str, Factors]) -> selection.Scores:
        """Importance by gradients."""
        return export.paper.importance(export.progress)


def labels_needed() -> DataError:
    """The refusal of osd without labels or completions."""
    return DataError(
        Code.DATA_LABELS_NEEDED,
        "osd ranks by gradients of the loss and needs right answers in its calibration set "
        "(--calibration: a .tsv with labels, or a .jsonl with completions); osd-rd needs no labels",
    )


def _facts(export: Export, bundle: Bundle, extra: int | None) -> dict[str, Any]:
    paper, budget = export.paper, export.options.limit
    scored, held_back, allowed = paper.scored, 0, None
    if scored is not None and paper.source.scoring:
        held_back = scored.calibration.examples
    if budget.rank is not None:
        allowed = sum(layer_bits(budget.rank, layer.n, layer.d) for layer in paper.source.layers)
    return {
        "familiarity": None if scored is None else familiarity([scored.calibration]),
        "held_back": held_back,
        "calibration_examples": len(paper.examples),
        "extra_rank": extra,
        "paper_bits": bundle.method["paper_bits"],
        "paper_bits_allowed": allowed,
    }


def _rounded(score: Score) -> dict[str, float]:
    return {"loss": round(min(score.loss, _WIDEST.loss), 4), "accuracy": round(score.accuracy, 4)}
