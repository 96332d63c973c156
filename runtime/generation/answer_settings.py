"""The words that say how an answer is written, checked at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from osd_edge.data.arguments import as_whole, described
from osd_edge.errors import Code, InputError
from osd_edge.runtime.generation.sampling import Sampling
from osd_edge.runtime.inputs import as_list


@dataclass(frozen=True)
class AnswerSettings:
    """The words that say how answers are written, as `EdgeSession.generate` has them."""

    max_tokens: int = 256
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    stop: Sequence[str] = ()

    def checked(self) -> "AnswerSettings":
        """Gives the same with plain numbers and texts.

        Raises InputError `input.number`, `input.texts` for stop texts that are none.
        """
        seed = None if self.seed is None else as_whole(self.seed, "seed")
        most = as_whole(self.max_tokens, "max_tokens", 1)
        return AnswerSettings(most, self.sampling.checked(), seed, _texts(self.stop))

    def generator(self, row: int) -> np.random.Generator:
        """Gives the random numbers of a row, which hang on no other row."""
        return np.random.default_rng(None if self.seed is None else (self.seed, row))


def _texts(given: object) -> tuple[str, ...]:
    listed = as_list(given)
    # A text is a sequence too, of its letters, each of which would end an answer.
    if (
        not isinstance(listed, Sequence)
        or isinstance(listed, str | bytes)
        or not all(isinstance(text, str) and text for text in listed)
    ):
        raise InputError(
            Code.INPUT_TEXTS, f"stop: expected a list of texts, found {described(given)}"
        )
    return tuple(listed)
