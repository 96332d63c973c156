"""The gain of fine-tuning over a head on the frozen base, and the share of it that a file keeps.

Of a task that writes, which has no head, the gain is that over the base alone.
"""

import math
from dataclasses import dataclass

from osd_edge.exporters.methods.options import RIGHT
from osd_edge.exporters.scoring.score import Score

_LEAST_NATS = 1e-3  # of a gain


@dataclass(frozen=True)
class CurvePoint:
    """A size that `keep` has tried.

    Args:
        size: bytes of the file.
        accuracy: accuracy on held-back rows, 0 to 1.
        share: the share of the gain over the floor that it keeps.
        loss: the mean loss on those rows, in nats.

    Example:
        >>> CurvePoint(size=4096, accuracy=0.91, share=0.97).size
        4096
    """

    size: int
    accuracy: float
    share: float
    loss: float | None = None


@dataclass(frozen=True)
class Gain:
    """The gain of fine-tuning on `rows` held-back rows: scores of the floor and the ceiling.

    It is counted in one of MEASURES: in right answers (of a task that writes, in rows that are
    written exactly), or in nats, of which less is better.
    """

    floor: Score
    ceiling: Score
    rows: int
    measure: str = RIGHT

    @property
    def is_there(self) -> bool:
        """Says whether there is any: one right answer more, or a thousandth of a nat."""
        return self._whole > 0 if self.measure == RIGHT else self._whole >= _LEAST_NATS

    @property
    def can_be_kept(self) -> bool:
        """Says whether it is enough to keep a share of: in right answers, one row's of `rows`."""
        return self.is_there and (self.measure != RIGHT or self._whole >= 1 / self.rows)

    def share(self, score: Score) -> float:
        """The share of the gain that this score keeps; below 0 where it is under the floor."""
        return (self._of(score) - self._of(self.floor)) / self._whole

    def error(self, score: Score) -> float | None:
        """Standard error of the share that this score keeps, from its binomial one.

        Never less than that of one row in `rows`. Floor and ceiling are on the same rows, which
        makes the truth somewhat smaller. None for a gain in nats, whose spread is not known.
        """
        if self.measure != RIGHT:
            return None
        least = 1 / max(self.rows, 2)  # of one row alone nothing is known
        p = min(max(score.accuracy, least), 1 - least)
        return math.sqrt(p * (1 - p) / self.rows) / self._whole

    @property
    def _whole(self) -> float:
        return self._of(self.ceiling) - self._of(self.floor)

    def _of(self, score: Score) -> float:
        """The number that is larger for a better score."""
        return score.accuracy if self.measure == RIGHT else -score.loss
