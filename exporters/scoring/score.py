"""The score of a model on a set of examples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """Mean loss in nats, and the share of rows, 0 to 1, whose answer is right.

    With labels: cross-entropy and accuracy. Without: divergence from the fine-tuned model and
    agreement with its answers, as each kind of task has them. Of a task that writes: the surprise
    of a completion's tokens, in nats a token, and the share of completions that greedy writing
    gets right from the first token to the last.

    Args:
        loss: the mean loss in nats.
        accuracy: the share of right answers, 0 to 1.
        next_same: of a task that writes, the share of tokens whose likeliest next one is the
            fine-tuned model's, 0 to 1; None of others.

    Example:
        >>> Score(loss=0.31, accuracy=0.92).accuracy
        0.92
    """

    loss: float
    accuracy: float
    next_same: float | None = None
