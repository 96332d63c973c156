"""The outcome of a comparison: the bounds of a task, and a point for each method and budget."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from osd_edge.exporters.compare.job import Setting
from osd_edge.exporters.compare.scored_rows import ScoreWithError
from osd_edge.exporters.kinds import KINDS

LEAST_GAIN = 0.02  # of full fine-tuning over the floor; a share of less says nothing
LEAST_NATS = 0.01  # likewise, in nats a token


@dataclass(frozen=True)
class Point:
    """One method at one budget (None for a method that has one size).

    `size` in bytes and `accuracy` (0 to 1) on the test set, or why the method has none here;
    `seconds` of processor time, over all cores, that compressing took; `files` below the output
    folder; what the method chose. `loss`, its standard error and `next_same` as in
    `ScoreWithError`.
    """

    method: str
    budget: str | None
    size: int | None = None
    accuracy: float | None = None
    seconds: float = 0.0
    files: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None
    loss: float | None = None
    loss_error: float | None = None
    next_same: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Test accuracies (0 to 1) of one task, and of its bounds; of text, the rows written exactly.

    `fine_tuned` is the checkpoint in torch, `linear_only` the same without its deltas of
    embeddings, biases and LayerNorms, which no method keeps; `zero_delta` its head on the base,
    of a task that generates text the base alone; `frozen_probe` a logistic regression on the
    base's features, None for the reason in `no_probe`, and of text. `shared_rows` of the
    calibration set are in the test set too. `scores` has all of each bound, by its name. `left`
    are settings that are not computed yet.
    """

    task: str
    seed: int
    labels: int
    test_examples: int
    calibration_examples: int
    shared_rows: int
    fp32_bytes: int
    fine_tuned: float
    linear_only: float
    zero_delta: float
    frozen_probe: float | None
    no_probe: str | None
    points: tuple[Point, ...]
    kind: str = "labels"
    scores: Mapping[str, ScoreWithError] = field(default_factory=dict)
    left: tuple[Setting, ...] = ()

    @property
    def writes(self) -> bool:
        """Says whether the task generates text."""
        return KINDS[self.kind].format.writes

    @property
    def floor(self) -> float | None:
        """The accuracy that a delta has to beat: the frozen probe's, of text the base's."""
        return self.zero_delta if self.writes else self.frozen_probe

    def gain(self, accuracy: float | None) -> float | None:
        """Share kept of what full fine-tuning gains over the floor; None where that is < 2 %."""
        floor = self.floor
        if accuracy is None or floor is None:
            return None
        most = self.fine_tuned - floor
        return (accuracy - floor) / most if most >= LEAST_GAIN else None

    def gain_in_nats(self, loss: float | None) -> float | None:
        """Share kept of what a task that generates text gains over the base in nats a token.

        None where that is less than a hundredth of a nat.
        """
        if loss is None or not self.writes:
            return None
        floor = self.scores["zero_delta"].loss
        most = floor - self.scores["fine_tuned"].loss
        return (floor - loss) / most if most >= LEAST_NATS else None

    def error(self, accuracy: float) -> float:
        """The binomial standard error of an accuracy, never less than that of one row."""
        p = min(max(accuracy, 1 / self.test_examples), 1 - 1 / self.test_examples)
        return math.sqrt(max(p * (1 - p), 0.0) / self.test_examples)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with each point's share of the gain."""
        points = [
            asdict(p) | {"gain": self.gain(p.accuracy), "gain_in_nats": self.gain_in_nats(p.loss)}
            for p in self.points
        ]
        return asdict(self) | {"points": points}
