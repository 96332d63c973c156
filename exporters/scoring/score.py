"""The score of a model on a set of examples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """Mean loss in nats, and the share of rows, 0 to 1, whose answer is right.

    With labels: cross-entropy and accuracy. Without: divergence from the fine-tuned model and
    agreement with its answers, as each kind of task has them.

    Args:
        loss: the mean loss in nats.
        accuracy: the share of right answers, 0 to 1.

    Example:
        >>> Score(loss=0.31, accuracy=0.92).accuracy
        0.92
    """

    loss: float
    accuracy: float
