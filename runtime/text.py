"""Turns texts into the base's token inputs, with the `tokenizers` package alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import as_whole
from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.runtime.held_tokenizer import HeldTokenizer


class TextEncoder:
    """Turns texts into the base's token inputs, as the fine-tuned model's tokenizer did.

    The tokenizer is read once, which takes longer than a short run. Safe to use from many threads.
    """

    def __init__(self, tokenizer: HeldTokenizer, manifest: BaseManifest) -> None:
        """Reads the tokenizer of the base with `manifest`.

        Raises InputError `input.tokenizers`, BaseError `base.text`.
        """
        self._tokenizer, self._settings = tokenizer.read()
        self._lock = tokenizer.lock
        self._names = manifest.inputs

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        """Makes token inputs `[batch, tokens]` of texts, or of pairs of texts, padded on the right.

        `max_length` tokens at most each. Raises InputError `input.texts`, `input.max-length`.
        """
        length = self.length_within(max_length)
        check_texts(texts, pairs)
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(Code.INPUT_TEXTS, f"{len(texts)} texts, but {len(pairs)} second texts")
        batch: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return self.padded(self.encodings(batch, length))

    @property
    def special_tokens(self) -> int:
        """The number of tokens that are added to a single text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def length_within(self, max_length: int | None) -> int:
        """Checks `max_length`, of which None is the base's own; InputError `input.max-length`."""
        limit = self._settings.max_length
        if max_length is None:
            return limit
        return as_whole(max_length, "max_length", 1, limit, Code.INPUT_MAX_LENGTH)

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
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BaseError(Code.BASE_TEXT, f"the tokenizer fails: {shown(str(error))}") from error
        return found

    def padded(self, encodings: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Makes token inputs `[batch, tokens]` of encodings, padded on the right."""
        length = max(1, *(len(encoding.ids) for encoding in encodings))
        ids = np.full((len(encodings), length), self._settings.pad_id, np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            ids[row, :count], types[row, :count], mask[row, :count] = (
                encoding.ids,
                encoding.type_ids,
                1,
            )
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: made[name] for name in self._names}


def check_texts(texts: Sequence[str], pairs: Sequence[str] | None = None) -> None:
    """Refuses (`input.texts`) anything but a list of texts, as first texts and as second ones."""
    for given in (texts,) if pairs is None else (texts, pairs):
        # A text is a sequence too, of its letters: each would get an answer of its own.
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        if not listed or not given or not all(isinstance(text, str) for text in given):
            raise InputError(
                Code.INPUT_TEXTS,
                f"expected a list of one or more {'texts' if given is texts else 'second texts'}, "
                f"found {shown(repr(given))}",
            )
        for text in given:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(Code.INPUT_TEXTS, "a text is not valid Unicode") from error
