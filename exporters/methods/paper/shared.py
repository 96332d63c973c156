"""Rows that score, spectra and factors, shared by exports of one source by the paper's methods."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress
from osd_edge.exporters.methods.factorize import (
    Factors,
    Spectrum,
    factorize_sites,
    spectra_of_sites,
)
from osd_edge.exporters.methods.paper.importance import importance_scores
from osd_edge.exporters.methods.paper.selection import Scores
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.scoring.calibrated_task import CalibratedTask, calibrated, evenly_spaced

MOST_ROWS = 512  # of a calibration set; more change neither gradients nor the choice of c


class PaperSource:
    """Decompositions of a source's deltas, made anew only where more columns are asked for."""

    def __init__(self, source: Source) -> None:
        """Take up to `MOST_ROWS` calibration rows, evenly spaced; nothing is computed yet."""
        self.source = source
        self.examples = evenly_spaced(source.examples, MOST_ROWS)
        self._spectra: dict[str, Spectrum] = {}
        self._factors: dict[str, Factors] = {}
        self._columns: dict[str, int] = {}
        self._importance: Scores = {}

    @cached_property
    def calibrated(self) -> CalibratedTask | None:
        """The task's model with the calibration rows; None without any."""
        return self._calibrated(self.examples)

    @cached_property
    def scored(self) -> CalibratedTask | None:
        """The task's model with the rows of the report: the calibration rows unless others score.

        A c is chosen on calibration rows in any case.
        """
        scoring = self.source.scoring
        return self._calibrated(scoring) if scoring else self.calibrated

    def _calibrated(self, rows: Sequence[Example]) -> CalibratedTask | None:
        source = self.source
        if source.model is None:
            return None
        whole = not source.left_out
        return calibrated(source.models, rows, source.progress, source.model, whole=whole)

    @property
    def labelled(self) -> bool:
        """Says whether there are calibration rows, and each has a right answer."""
        answered = self.source.models.writes or all(e.label is not None for e in self.examples)
        return bool(self.examples) and answered

    def spectra(self, progress: Progress) -> Mapping[str, Spectrum]:
        """The singular values of each site's delta."""
        if not self._spectra:
            models = self.source.models
            self._spectra = spectra_of_sites(
                models.backbone, models.tuned, self.source.layers, progress
            )
        return self._spectra

    def factors(self, needed: Mapping[str, int], progress: Progress) -> Mapping[str, Factors]:
        """Factors of each site with `needed` columns at least, where the delta has as many."""
        if any(needed[name] > self._columns.get(name, 0) for name in needed):
            self._columns = {n: max(k, self._columns.get(n, 0)) for n, k in needed.items()}
            models = self.source.models
            self._factors = factorize_sites(models.backbone, models.tuned, self._columns, progress)
            self._importance = {}
        return self._factors

    def importance(self, progress: Progress) -> Scores:
        """Scores by gradients of the elements of the latest factors."""
        if not self._importance:
            assert self.calibrated is not None
            self._importance = importance_scores(
                self.calibrated.model,
                self.source.models.backbone,
                self.calibrated.calibration,
                self._factors,
                progress,
            )
        return self._importance
