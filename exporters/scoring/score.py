"""The score of a model on a set of examples."""

import math
from dataclasses import dataclass

_ERRORS = 2  # standard errors that are noise
_NATS = 0.01  # a token, of a task that writes, whose rows are hardly ever written exactly


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


def is_less(score: Score, than: Score, rows: int) -> bool:
    """Says whether a score on `rows` rows is less than another by more than noise.

    Noise is two standard errors of the lesser accuracy; of a task that writes 0.01 nats a token.
    """
    if score.next_same is not None:
        return score.loss - than.loss > _NATS
    p = min(max(score.accuracy, 1 / max(rows, 2)), 1 - 1 / max(rows, 2))
    return than.accuracy - score.accuracy > _ERRORS * math.sqrt(p * (1 - p) / rows)
