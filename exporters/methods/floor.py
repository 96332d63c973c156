"""The floor under a task: what a head over the frozen base scores on rows held back.

Of a task that writes, which adds no head, it is the base alone.
"""

import random
from collections.abc import Sequence
from functools import cached_property

from osd_edge.data.examples import Example
from osd_edge.exporters.kinds import SEQUENCE
from osd_edge.exporters.methods.frozen_head import HeadOverBase, fit_frozen_head
from osd_edge.exporters.methods.gain import Gain
from osd_edge.exporters.methods.options import RIGHT
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.scoring.bfloat16 import lowered, training_dtype
from osd_edge.exporters.scoring.calibrated_task import (
    CalibratedTask,
    batches_of,
    calibrated,
    evenly_spaced,
)
from osd_edge.exporters.scoring.calibration import Calibration
from osd_edge.exporters.scoring.familiar_rows import MOST_ROWS, RowFamiliarity, familiarity
from osd_edge.exporters.scoring.held_back import split
from osd_edge.exporters.scoring.score import Score
from osd_edge.exporters.scoring.weight_sets import BASE, TUNED
from osd_edge.formats.bundle.model import StoredHead

_ROWS = 4096  # more take longer than refining scales does, for a point or two


class Floor:
    """The rows of a source that tune and that score, with the head over the frozen base.

    Calibration rows are split by a seed, unless there are others that only score.

    The rows `tuning` may be learned from; rows that score tune nothing. A `quick` head learns from
    as many rows as a floor to compare with needs; a head that is shipped, or decides a size, takes
    all.
    """

    def __init__(self, source: Source, seed: int) -> None:
        """Split the rows; heads and scores wait until they are asked for."""
        self._source, self._seed = source, seed
        if source.scoring:
            self.tuning, self._held = source.examples, source.scoring
        else:
            self.tuning, self._held = split(source.examples, seed)
        self._heads: dict[int, StoredHead] = {}  # by the number of rows
        self._scores: dict[bool, Score] = {}  # by whether they are quick ones

    @property
    def scores_rows(self) -> bool:
        """Says whether there are rows held back to score on."""
        return bool(self._held)

    @property
    def rows(self) -> int:
        """All calibration rows, those that tune and those that score."""
        return len(self.tuning) + len(self._held)

    @cached_property
    def calibrated(self) -> CalibratedTask | None:
        """The task's model with the held-back rows; None where there are none."""
        if not self._held:
            return None
        source = self._source
        return calibrated(
            source.models,
            self._held,
            source.progress,
            model=source.model,
            whole=not source.left_out,
            vectors=source.options.vectors,
        )

    @cached_property
    def familiarity(self) -> RowFamiliarity | None:
        """The fine-tuned model's familiarity with the rows that score; None where it is not told.

        Rows that tune are of the same file, unless others only score, and tell more of it; of a
        large model they would take long.
        """
        source, found = self._source, self.calibrated
        if found is None:
            return None
        sets = [found.calibration]
        more = MOST_ROWS - len(self._held)
        told = found.calibration.one_label and found.calibration.labelled
        if told and not source.scoring and not source.large and more > 0:
            rows = evenly_spaced(self.tuning, more)
            assert source.model is not None
            with source.model.at(TUNED) as module:
                batches = batches_of(source.models, rows)
                sets.append(Calibration(batches, module, source.progress))
        return familiarity(sets)

    def head(self, *, quick: bool) -> StoredHead | None:
        """The head over the frozen base, fitted on the rows that tune.

        None without rows, and of a task that writes.
        """
        model = self._source.model
        if model is None or self._source.models.writes:
            return None
        rows: Sequence[Example] = self.tuning
        if quick and len(rows) > _ROWS:
            rows = tuple(random.Random(self._seed).sample(rows, _ROWS))
        if len(rows) not in self._heads:
            models = self._source.models
            decoder = models.backbone.family.heads[SEQUENCE].pooling == "last"
            batches = batches_of(models, rows)
            with lowered(model.structure, training_dtype(), only_streamed=True):
                self._heads[len(rows)] = fit_frozen_head(model, batches, decoder)
        return self._heads[len(rows)]

    def score(self, *, quick: bool) -> Score | None:
        """The score of that head, or of the base alone, on held-back rows; None without rows."""
        head, model = self.head(quick=quick), self._source.model
        if self.calibrated is None or model is None:
            return None
        if quick not in self._scores:
            with model.at(BASE) as module:
                alone = module if head is None else HeadOverBase(module, head.decode())
                what = "Base alone" if head is None else "Frozen head"
                self._scores[quick] = self.calibrated.calibration.score(
                    alone, f"{what} on calibration set"
                )
        return self._scores[quick]

    def gain(self, *, quick: bool, measure: str = RIGHT) -> Gain | None:
        """The gain of fine-tuning over that floor on held-back rows; None without rows."""
        floor = self.score(quick=quick)
        if self.calibrated is None or floor is None:
            return None
        rows = self.calibrated.calibration.examples
        return Gain(floor, self.calibrated.fine_tuned, rows, measure)
