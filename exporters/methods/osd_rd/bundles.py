"""Bundles by osd-rd of one fine-tuned model: within a budget, or the smallest for a quality."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from osd_edge.data.progress import Progress, silent
from osd_edge.data.sizes import format_size
from osd_edge.errors import BudgetError, Code, DataError
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.methods.floor import Floor
from osd_edge.exporters.methods.gain import CurvePoint, Gain
from osd_edge.exporters.methods.integer_bundle import (
    Scored,
    calibration_needed,
    integer_bundle,
    with_score,
)
from osd_edge.exporters.methods.options import RIGHT
from osd_edge.exporters.methods.osd_rd.compress import LatentsChange, RateDistortion
from osd_edge.exporters.methods.osd_rd.keep import smallest_that_keeps
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.integers import Integers
from osd_edge.exporters.scoring.familiar_rows import check_new
from osd_edge.exporters.scoring.held_back import check_keep_rows
from osd_edge.exporters.scoring.score import Score
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.writer import write_bundle

_PADDING = 8  # bytes by which the headers of two bundles may be filled up differently
_WIDEST = Score(0.0, 0.9999)  # takes a score's place in the file until it is measured


@dataclass(frozen=True)
class Wanted:
    """A task's name, and how its bundle is to be refined; `change` as `RateDistortion.compress`.

    With `trust_rows` rows that the fine-tuned model seems to know may decide what is kept.
    """

    task: str
    refine: str
    progress: Progress = silent
    change: LatentsChange | None = None
    trust_rows: bool = False


class RateDistortionBundles:
    """osd-rd for one source and seed: statistics and decompositions are made once, when needed."""

    def __init__(self, source: Source, seed: int) -> None:
        """Split the rows; nothing is computed yet."""
        self._source, self._seed = source, seed
        self.floor = source.shared(Floor, seed)

    @cached_property
    def pipeline(self) -> RateDistortion:
        """Statistics on the rows that tune, and whitened columns of every site."""
        return RateDistortion(self._source, self.floor.tuning, self._seed)

    def within(self, wanted: Wanted, budget: Budget) -> Scored:
        """The best bundle within `budget`.

        Raises BudgetError `budget.too-small`, DataError `data.calibration-needed`.
        """
        self._check(wanted)
        allowed = None
        if budget.rank is not None:
            rank = budget.rank
            bits = sum(layer_bits(rank, layer.n, layer.d) for layer in self._source.layers)
            allowed = bits // 8
        made = self._attempt(wanted, budget.size, allowed)
        if made is None:
            raise self._too_small(wanted, budget, allowed)
        return made

    def keeping(self, wanted: Wanted, keep: float, measure: str = RIGHT) -> Scored:
        """The smallest bundle that keeps the share `keep` of the gain on held-back rows.

        `measure` is what the gain is counted in.

        Raises DataError `data.few-rows`, `data.no-gain`, `data.seen`; BudgetError `budget.keep`.
        """
        self._check(wanted)
        check_keep_rows(self.floor.rows, len(self._source.scoring) or None)
        gain = self.floor.gain(quick=False, measure=measure)
        assert gain is not None, "rows are held back of that many"
        if not gain.can_be_kept:
            raise self._no_gain(gain)
        if not wanted.trust_rows:
            check_new(self.floor.familiarity)

        def attempt(size: int) -> tuple[Scored, CurvePoint] | None:
            made = self._attempt(wanted, size, None)
            if made is None or made.score is None:
                return None
            score, bytes_ = made.score, len(write_bundle(made.bundle))
            return made, CurvePoint(bytes_, score.accuracy, gain.share(score), score.loss)

        best, curve = smallest_that_keeps(keep, attempt, wanted.progress)
        return replace(best, curve=tuple(curve))

    def _attempt(self, wanted: Wanted, size: int | None, allowed: int | None) -> Scored | None:
        """A bundle of at most `size` bytes, or whose linear layers take at most `allowed`."""

        def fits(integers: Integers) -> bool:
            whole = len(write_bundle(self._placeholder(wanted, integers)))
            if allowed is None:
                return size is not None and whole <= size
            head = self._placeholder(wanted, replace(integers, sites=(), vectors=()))
            return whole - len(write_bundle(head)) <= allowed - _PADDING

        # A value other than zero takes a bit for its sign alone.
        bytes_ = allowed if size is None else size
        most = math.inf if bytes_ is None else 8 * bytes_
        integers = self.pipeline.compress(fits, wanted.refine, wanted.progress, wanted.change, most)
        if integers is None:
            return None
        bundle, calibrated = self._bundle(wanted, integers), self.floor.calibrated
        score = None
        if calibrated is not None:
            score = calibrated.score(
                bundle.sites, bundle.head, wanted.progress, vectors=bundle.vectors
            )
        return Scored(with_score(bundle, calibrated, score), score)

    def _no_gain(self, gain: Gain) -> DataError:
        """The refusal to keep a share of nothing."""
        exactly = gain.measure == RIGHT
        floor, ceiling = (
            f"{score.accuracy:.1%}" if exactly else f"{score.loss:.3f} nats"
            for score in (gain.floor, gain.ceiling)
        )
        found = f"on {gain.rows} held-back rows ({floor}) as the fine-tuned model ({ceiling})"
        if self._source.models.writes:
            why = f"the base alone is as good {found}: "
            why += "count in --keep-by nats" if exactly else "there is nothing to keep"
        else:
            why = f"a head on the frozen base is as good {found}: use --method head"
        return DataError(Code.DATA_NO_GAIN, why)

    def _too_small(self, wanted: Wanted, budget: Budget, allowed: int | None) -> BudgetError:
        """The refusal of a budget; `allowed` are the bytes of the linear layers alone."""
        if allowed is not None and not self._source.layers:
            why = (
                f"{budget} counts columns of linear layers, and none of this task's have changed: "
                "give bytes of the whole file, such as 16KiB"
            )
        elif allowed is not None:
            why = (
                f"{budget} leaves the linear layers {allowed} bytes, and a delta takes more: give "
                "a larger r, or bytes of the whole file such as 16KiB"
            )
        else:
            smallest = len(write_bundle(self._placeholder(wanted, self.pipeline.smallest())))
            named = f"{format_size(smallest)} ({smallest} bytes)"
            if budget.size is not None and smallest <= budget.size:
                why = (
                    f"a budget of {budget} holds this task's smallest bundle, {named}, but not "
                    f"what --refine {wanted.refine} makes of it: give some more bytes, or "
                    "--refine none"
                )
            else:
                most = ", of which its head takes most" if self._source.models.head.modules else ""
                why = (
                    f"a budget of {budget} is less than the smallest bundle of this task, "
                    f"{named}{most}: give at least that"
                )
        return BudgetError(Code.BUDGET_TOO_SMALL, why)

    def _check(self, wanted: Wanted) -> None:
        if wanted.refine != "none" and self._source.model is None:
            raise calibration_needed(f"--refine {wanted.refine}")

    def _bundle(self, wanted: Wanted, integers: Integers) -> Bundle:
        method = {"name": "osd-rd", "refine": wanted.refine}
        return integer_bundle(self._source, wanted.task, method, integers)

    def _placeholder(self, wanted: Wanted, integers: Integers) -> Bundle:
        """The bundle with the widest scores: no smaller than it will be."""
        bundle, floor = self._bundle(wanted, integers), self.floor
        return with_score(bundle, floor.calibrated, _WIDEST if floor.scores_rows else None)
