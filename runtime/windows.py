"""Texts longer than the base takes, as overlapping windows of tokens.

Every window keeps where its tokens stand in the text, so that what is said of tokens can be said
of characters.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.base_manifest import BaseManifest
from osd_edge.errors import InputError
from osd_edge.heads import Floats
from osd_edge.runtime.text import check_texts, encoded, length_within, open_tokenizer, padded

Inputs = dict[str, NDArray[np.int64]]
Run = Callable[[Inputs], Floats]  # token inputs to logits [batch, tokens, labels]
_BATCH = 8  # windows that go through the base together


class Windows:
    """Cuts texts, or the contexts of questions, into windows of `max_length` tokens."""

    def __init__(
        self,
        folder: Path,
        manifest: BaseManifest,
        max_length: int | None = None,
        stride: int = 128,
    ) -> None:
        """`stride` tokens of a window are in the next one too (at most half of it).

        Raises InputError `input.max-length`, `input.stride`.
        """
        self._tokenizer, self._settings = open_tokenizer(folder, manifest)
        self._names = manifest.inputs
        self._length = length_within(self._settings, max_length)
        if stride < 0:
            raise InputError("input.stride", f"expected a stride of 0 or more, found {stride}")
        self._stride = min(stride, self._length // 2)

    def of_text(self, text: str) -> list[Any]:
        """The windows (encodings of the tokenizers package) of one text.

        Raises InputError `input.max-length` where a window is too small for any but overlaps.
        """
        check_texts([text])
        special = self._tokenizer.num_special_tokens_to_add(False)
        if special + self._stride >= self._length:
            tokens = len(encoded(self._tokenizer, [text])[0].ids)
            if tokens > self._length:
                raise InputError(
                    "input.max-length",
                    f"{special} special tokens leave a text of {tokens} no room in windows of "
                    f"{self._length}",
                )
        return self._cut(text, "longest_first")

    def of_context(self, question: str, context: str) -> list[Any]:
        """The windows of a context, each behind the whole question.

        Raises InputError `input.max-length` where the question leaves no room.
        """
        check_texts([question], [context])
        asked = len(encoded(self._tokenizer, [(question, "")])[0].ids)
        if asked + self._stride >= self._length:
            raise InputError(
                "input.max-length",
                f"a question of {asked} tokens leaves no window of {self._length} any room",
            )
        return self._cut((question, context), "only_second")

    def logits(self, windows: Sequence[Any], run: Run) -> Iterator[tuple[Any, Floats]]:
        """Each window with its logits `[tokens, labels]`, padding left out."""
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH]
            logits = run(padded(batch, self._settings.pad_id, self._names))
            for window, row in zip(batch, logits, strict=True):
                yield window, row[: len(window.ids)]

    def _cut(self, given: Any, strategy: str) -> list[Any]:
        self._tokenizer.enable_truncation(self._length, stride=self._stride, strategy=strategy)
        try:
            first = encoded(self._tokenizer, [given])[0]
        finally:
            self._tokenizer.no_truncation()
        return [first, *first.overflowing]
