"""Chooses the next token from logits, with the processors that transformers has, in its order.

Processors take and give logits `[vocabulary]`, float32; what may not be chosen is -infinity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import as_number, as_whole
from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import Floats


@dataclass(frozen=True)
class Sampling:
    """The words that say how tokens are chosen; without any, the likeliest is.

    `temperature` 0 takes the likeliest, `top_k` 0 takes all. `checked` refuses what is out of
    range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def checked(self) -> "Sampling":
        """Gives the same with plain numbers; raises InputError `input.number`."""
        return Sampling(
            _number(self.temperature, "temperature", 0, 1e6),
            as_whole(self.top_k, "top_k"),
            _number(self.top_p, "top_p", 1e-9, 1),
            _number(self.min_p, "min_p", 0, 1),
            _number(self.repetition_penalty, "repetition_penalty", 1e-6, 1e6),
        )


def _number(value: object, name: str, least: float, most: float) -> float:
    number = as_number(value, name)
    if not least <= number <= most:
        raise InputError(
            Code.INPUT_NUMBER,
            f"{name}: expected a number from {least:g} to {most:g}, found {value}",
        )
    return number


def next_token(
    logits: Floats, tokens: Sequence[int], sampling: Sampling, generator: np.random.Generator
) -> int:
    """Chooses the token after `tokens`, those of the prompt too."""
    if sampling.temperature == 0:
        return int(repetition_penalty(logits, tokens, sampling.repetition_penalty).argmax())
    scores = processed(logits, tokens, sampling)
    candidates = np.flatnonzero(scores > -np.inf)
    chances = np.cumsum(_softmax(scores[candidates]))
    # The last chance is 1 but for rounding, and what is drawn is below it.
    drawn = generator.random() * chances[-1]
    return int(candidates[np.searchsorted(chances, drawn, side="right")])


def processed(logits: Floats, tokens: Sequence[int], sampling: Sampling) -> Floats:
    """Applies all processors: repetition penalty, temperature, top k, top p, min p."""
    scores = repetition_penalty(logits, tokens, sampling.repetition_penalty)
    scores = _tempered(scores, sampling.temperature)
    return min_p(top_p(top_k(scores, sampling.top_k), sampling.top_p), sampling.min_p)


def _tempered(scores: Floats, temperature: float) -> Floats:
    """Divides by the temperature; where float32 cannot hold that, what each is below the best."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        tempered = scores / np.float32(temperature)
        if np.isfinite(tempered).all():
            return tempered
        below = (scores - scores.max()).astype(np.float64)
        far: Floats = (below / temperature).astype(np.float32)
        return far


def repetition_penalty(logits: Floats, tokens: Sequence[int], penalty: float) -> Floats:
    """Makes tokens that were there less likely: positive logits divided, others multiplied."""
    if penalty == 1:
        return logits
    there = np.unique(np.asarray(tokens, np.int64))
    scores = logits.copy()
    own = scores[there]
    scores[there] = np.where(own < 0, own * np.float32(penalty), own / np.float32(penalty))
    return scores


def top_k(scores: Floats, k: int) -> Floats:
    """Leaves the `k` likeliest tokens, and others as likely as the last of them."""
    if not 0 < k < len(scores):
        return scores
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.where(scores < least, np.float32(-np.inf), scores)


def top_p(scores: Floats, p: float) -> Floats:
    """Leaves the fewest likeliest tokens whose chances add up to `p` or more."""
    if p >= 1:
        return scores
    chances = _softmax(scores)
    # Tokens of such chances add up to no more than 1 - p, all of them together: so they go, and
    # only the others need to be in order.
    low = chances <= (1 - p) / len(scores)
    rest = np.flatnonzero(~low)
    order = rest[np.argsort(chances[rest], kind="stable")]
    below = chances[low].sum() + np.cumsum(chances[order]) <= 1 - p
    below[-1:] = False  # the likeliest stays whatever p is
    kept = np.full_like(scores, -np.inf)
    kept[order[~below]] = scores[order[~below]]
    return kept


def min_p(scores: Floats, p: float) -> Floats:
    """Leaves the tokens that are at least `p` times as likely as the likeliest."""
    if p <= 0:
        return scores
    chances = _softmax(scores)
    low = chances < p * chances.max()
    low[scores.argmax()] = False
    return np.where(low, np.float32(-np.inf), scores)


def _softmax(scores: Floats) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = np.exp((scores - scores.max()).astype(np.float64))
    chances /= chances.sum()
    return chances
