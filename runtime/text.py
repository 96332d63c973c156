"""Text in, labels out: tokenising with the `tokenizers` package alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.base_manifest import TOKENIZER, BaseManifest, TextSettings
from osd_edge.errors import BaseError, InputError, shown
from osd_edge.heads import Floats, sigmoid, softmax


@dataclass(frozen=True)
class Answer:
    """The likeliest label of one text, its score, and the scores of all labels.

    Scores add up to 1 where one label applies. In a multi-label task each stands for itself; in
    a regression they are the numbers themselves.
    """

    label: str
    score: float
    scores: dict[str, float]

    def chosen(self, least: float = 0.5) -> tuple[str, ...]:
        """The labels whose score is `least` or more: what applies in a multi-label task."""
        return tuple(label for label, score in self.scores.items() if score >= least)


class TextEncoder:
    """Turns texts into the graph's token inputs, as the fine-tuned model's tokenizer did."""

    def __init__(self, folder: Path, manifest: BaseManifest, max_length: int | None = None) -> None:
        """Open the tokenizer in base package `folder`; `max_length` tokens at most a text."""
        self._tokenizer, settings = open_tokenizer(folder, manifest)
        self._tokenizer.enable_truncation(length_within(settings, max_length))
        self._pad_id = settings.pad_id
        self._names = manifest.inputs

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.int64]]:
        """Token inputs `[batch, tokens]` for `texts`, or for text pairs, padded on the right."""
        check_texts(texts, pairs)
        if pairs is not None and len(pairs) != len(texts):
            raise InputError("input.texts", f"{len(texts)} texts, but {len(pairs)} second texts")
        batch: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return padded(encoded(self._tokenizer, batch), self._pad_id, self._names)


def open_tokenizer(folder: Path, manifest: BaseManifest) -> tuple[Any, TextSettings]:
    """The tokenizer of the base package in `folder`, without truncation, and its settings.

    Raises InputError `input.tokenizers`, BaseError `base.text`.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InputError(
            "input.tokenizers", "text needs the tokenizers package: pip install osd-edge[text]"
        ) from error
    if manifest.text is None:
        raise BaseError("base.text", f"{folder} was exported from a model without a tokenizer")
    try:
        return Tokenizer.from_file(str(folder / TOKENIZER)), manifest.text
    except Exception as error:  # the package raises bare Exception
        raise BaseError("base.text", f"cannot read {folder / TOKENIZER}: {error}") from error


def length_within(settings: TextSettings, max_length: int | None) -> int:
    """`max_length`, or the base's own; raises InputError `input.max-length`."""
    limit = settings.max_length
    if max_length is not None and not 1 <= max_length <= limit:
        raise InputError("input.max-length", f"expected 1 to {limit} tokens, found {max_length}")
    return max_length or limit


def check_texts(texts: Sequence[str], pairs: Sequence[str] | None = None) -> None:
    """Refuse (`input.texts`) what is no list of texts."""
    if isinstance(texts, str) or not texts or not all(isinstance(t, str) for t in texts):
        raise InputError(
            "input.texts", f"expected a list of one or more texts, found {shown(repr(texts))}"
        )
    for text in (*texts, *(pairs or ())):
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError) as error:
            raise InputError("input.texts", "a text is not valid Unicode") from error


def encoded(tokenizer: Any, batch: Sequence[Any]) -> list[Any]:
    """The tokenizer's encodings of texts or pairs; raises BaseError `base.text`."""
    try:
        encodings: list[Any] = tokenizer.encode_batch(batch)
    except BaseException as error:  # the package's panics are no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BaseError("base.text", f"the tokenizer fails: {shown(str(error))}") from error
    return encodings


def padded(
    encodings: Sequence[Any], pad_id: int, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Token inputs `names` `[batch, tokens]` of encodings, padded on the right."""
    length = max(1, *(len(encoding.ids) for encoding in encodings))
    ids = np.full((len(encodings), length), pad_id, np.int64)
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
    return {name: made[name] for name in names}


def answers(labels: Sequence[str], logits: Floats, kind: str = "labels") -> list[Answer]:
    """One answer for each row of `logits` `[batch, labels]`; `kind` is that of the head."""
    scored = logits
    if kind != "regression":
        scored = sigmoid(logits) if kind == "multi-label" else softmax(logits)
    result = []
    for row in scored:
        best = int(row.argmax())
        scores = dict(zip(labels, map(float, row), strict=True))
        result.append(Answer(labels[best], float(row[best]), scores))
    return result
