"""Cuts texts longer than the base takes into windows of tokens that overlap.

Every window keeps where its tokens stand in the text, so that what is said of tokens can be said
of characters.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import as_whole
from osd_edge.errors import Code, InputError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.text import TextEncoder, as_texts

Inputs = dict[str, NDArray[np.int64]]
Run = Callable[[Inputs], Floats]  # token inputs to logits [batch, tokens, labels]
STRIDE = 128  # tokens that a window shares with the next, unless asked otherwise
_BATCH = 8  # windows that go through the base together


class Windows:
    """Cuts texts, or the contexts of questions, into windows of `max_length` tokens."""

    def __init__(
        self, encoder: TextEncoder, max_length: int | None = None, stride: int = STRIDE
    ) -> None:
        """Cuts so that `stride` tokens of a window are in the next one too (at most half of it).

        Raises InputError `input.max-length`, `input.stride`.
        """
        self._encoder = encoder
        self._length = encoder.length_within(max_length)
        stride = as_whole(stride, "stride", code=Code.INPUT_STRIDE)
        self._stride = min(stride, self._length // 2)

    def of_text(self, text: str) -> list[Any]:
        """Cuts one text into windows, which are encodings of the tokenizers package.

        Raises InputError `input.max-length` where a window is too small for any but overlaps.
        """
        as_texts([text])
        special = self._encoder.special_tokens
        if special + self._stride >= self._length:
            tokens = len(self._encoder.encodings([text])[0].ids)
            if tokens > self._length:
                raise InputError(
                    Code.INPUT_MAX_LENGTH,
                    f"{special} special tokens leave a text of {tokens} no room in windows of "
                    f"{self._length}",
                )
        return self._cut(text, "longest_first")

    def of_context(self, question: str, context: str) -> list[Any]:
        """Cuts a context into windows, each behind the whole question.

        Raises InputError `input.max-length` where the question leaves no room.
        """
        as_texts([question])
        as_texts([context], "second texts")
        asked = len(self._encoder.encodings([(question, "")])[0].ids)
        if asked + self._stride >= self._length:
            raise InputError(
                Code.INPUT_MAX_LENGTH,
                f"a question of {asked} tokens leaves no window of {self._length} any room",
            )
        return self._cut((question, context), "only_second")

    def logits(self, windows: Sequence[Any], run: Run) -> Iterator[tuple[Any, Floats]]:
        """Runs the windows, and gives each with its logits `[tokens, labels]`, padding left out."""
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH]
            logits = run(self._encoder.padded(batch))
            for window, row in zip(batch, logits, strict=True):
                yield window, row[: len(window.ids)]

    def _cut(self, given: Any, strategy: str) -> list[Any]:
        (first,) = self._encoder.encodings(
            [given],
            self._length,
            stride=self._stride,
            strategy=strategy,
            direction=self._encoder.side,
        )
        return [first, *first.overflowing]
