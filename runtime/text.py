"""Turns texts into the base's token inputs, with the `tokenizers` package alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import as_whole, described
from osd_edge.data.long_texts import CutSide, used_texts
from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.inputs import as_list
from osd_edge.runtime.kept_tokenizer import KeptTokenizer

Texts = Sequence[str] | NDArray[np.str_]


class TextEncoder:
    """Turns texts into the base's token inputs, as the fine-tuned model's tokenizer did.

    The tokenizer is read once, which takes longer than a short run, for the encoders of all tasks.
    Safe to use from many threads.
    """

    def __init__(
        self, tokenizer: KeptTokenizer, manifest: BaseManifest, text: TaskText | None = None
    ) -> None:
        """Reads the tokenizer of the base with `manifest`; `text` has a task's own settings.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        self._tokenizer, self._settings = tokenizer.read()
        self._lock = tokenizer.lock
        self._names = manifest.inputs
        own = text or TaskText()
        self._limit = min(own.max_length or self._settings.max_length, self._settings.max_length)
        self._prompt = own.prompt or ""
        self._side: CutSide = own.truncation or "right"

    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Makes token inputs `[batch, tokens]` of texts, or of pairs of texts, padded on the right.

        `max_length` tokens at most each. Raises InputError `input.texts`, `input.max-length`.
        """
        return self.padded(self.cut(*as_pairs(texts, pairs), max_length))

    def cut(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None
    ) -> list[Any]:
        """Tokenizes checked texts, behind the task's prompt, cut on the task's side.

        Raises InputError `input.max-length`, BaseError `base.text`.
        """
        length = self.length_within(max_length)
        if length < self._settings.max_length:
            self._check_room(length, 1 if pairs is None else 2)
        batch: list[Any] = []
        for i, text in enumerate(texts):
            second = None if pairs is None else pairs[i]
            used = used_texts(self._prompt + text, second, length, self._side, self._count)
            batch.append(used[0] if second is None else used)
        return self.encodings(batch, length, direction=self._side)

    @property
    def side(self) -> CutSide:
        """The side on which longer texts are cut, and from whose opposite windows are laid."""
        return self._side

    @property
    def special_tokens(self) -> int:
        """The number of tokens that are added to a single text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def length_within(self, max_length: int | None) -> int:
        """Checks `max_length`, and gives the least of it, the task's and the base's own.

        Raises InputError `input.max-length`.
        """
        if max_length is None:
            return self._limit
        most = self._settings.max_length
        asked = as_whole(max_length, "max_length", 1, most, Code.INPUT_MAX_LENGTH)
        return min(asked, self._limit)

    def _check_room(self, length: int, texts: int) -> None:
        """Refuses (`input.max-length`) a length that what is added to so many texts goes beyond."""
        added = int(self._tokenizer.num_special_tokens_to_add(texts == 2))
        if length < added:
            raise InputError(
                Code.INPUT_MAX_LENGTH,
                f"max_length: expected {added} or more, since so many tokens are added to "
                f"{'a text' if texts == 1 else 'two texts'}, found {length}",
            )

    def encodings(
        self, batch: Sequence[Any], length: int | None = None, **truncation: Any
    ) -> list[Any]:
        """Tokenizes texts or pairs, whole or cut to `length` tokens.

        Raises BaseError `base.text`.
        """
        try:
            with self._lock:  # what it cuts to is a state of the tokenizer
                if length is None:
                    self._tokenizer.no_truncation()
                else:
                    self._tokenizer.enable_truncation(length, **truncation)
                found: list[Any] = self._tokenizer.encode_batch(batch)
        except BaseException as error:  # the package's panics are no Exception
            if not raised_by("tokenizers", error):
                raise
            raise BaseError(Code.BASE_TEXT, f"the tokenizer fails: {shown(str(error))}") from error
        longest = max(len(encoding.ids) for encoding in found)
        if length is not None and longest > length:  # a template may repeat what was cut to fit
            raise BaseError(
                Code.BASE_TEXT,
                f"the tokenizer gives {longest} tokens where {length} were asked for: do not use "
                "this base package",
            )
        return found

    def _count(self, text: str) -> int:
        """The tokens of a text, without special ones."""
        return len(self.encodings([text])[0].ids) - self.special_tokens

    def padded(self, encodings: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Makes token inputs `[batch, tokens]` of encodings, padded on the right."""
        length = max(1, *(len(encoding.ids) for encoding in encodings))
        ids = np.full((len(encodings), length), self._settings.pad_id, np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            ids[row, :count], types[row, :count] = encoding.ids, encoding.type_ids
            # An empty text has no token where none is added: one of padding then stands for it,
            # or its answer would be another in every batch.
            mask[row, : max(count, 1)] = 1
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: made[name] for name in self._names}


def as_pairs(texts: Texts, pairs: Texts | None) -> tuple[Sequence[str], Sequence[str] | None]:
    """Checks texts, and a second one for each; raises InputError `input.texts`."""
    firsts = as_texts(texts)
    if pairs is None:
        return firsts, None
    seconds = as_texts(pairs, "second texts")
    if len(seconds) != len(firsts):
        raise InputError(Code.INPUT_TEXTS, f"{len(firsts)} texts, but {len(seconds)} second texts")
    return firsts, seconds


def as_texts(given: Any, what: str = "texts") -> Sequence[str]:
    """Gives a list, tuple or array of texts as a sequence; refuses (`input.texts`) all else."""
    texts: Sequence[str] = as_list(given)
    # A text is a sequence too, of its letters: each would get an answer of its own.
    listed = isinstance(texts, Sequence) and not isinstance(texts, str)
    if not listed or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(
            Code.INPUT_TEXTS,
            f"expected a list of one or more {what}, found {described(given)}",
        )
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(Code.INPUT_TEXTS, "a text is not valid Unicode") from error
    return texts
