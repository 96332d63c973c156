"""The gain of fine-tuning over a head on the frozen base, and the share of it that a file keeps."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """A size that `keep` has tried.

    Args:
        size: bytes of the file.
        accuracy: accuracy on held-back rows, 0 to 1.
        share: the share of the gain over a frozen head that it keeps.

    Example:
        >>> CurvePoint(size=4096, accuracy=0.91, share=0.97).size
        4096
    """

    size: int
    accuracy: float
    share: float


@dataclass(frozen=True)
class Gain:
    """The gain of fine-tuning on `rows` held-back rows: accuracies of the floor and the ceiling."""

    floor: float
    ceiling: float
    rows: int

    def share(self, accuracy: float) -> float:
        """The share of the gain that this accuracy keeps; below 0 where it is under the floor."""
        return (accuracy - self.floor) / (self.ceiling - self.floor)

    def error(self, accuracy: float) -> float:
        """Standard error of the share that this accuracy keeps, from its binomial one.

        Never less than that of one row in `rows`. Floor and ceiling are on the same rows, which
        makes the truth somewhat smaller.
        """
        p = min(max(accuracy, 1 / self.rows), 1 - 1 / self.rows)
        return math.sqrt(p * (1 - p) / self.rows) / (self.ceiling - self.floor)
