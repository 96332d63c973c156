"""Text in, labels out: tokenising with the `tokenizers` package alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.base_manifest import TOKENIZER, BaseManifest
from osd_edge.errors import BaseError, InputError, shown
from osd_edge.heads import Floats, softmax


@dataclass(frozen=True)
class Answer:
    """The likeliest label of one text, its score, and the scores of all labels (sum 1)."""

    label: str
    score: float
    scores: dict[str, float]


class TextEncoder:
    """Turns texts into the graph's token inputs, as the fine-tuned model's tokenizer did."""

    def __init__(self, folder: Path, manifest: BaseManifest, max_length: int | None = None) -> None:
        """Open the tokenizer in base package `folder`; `max_length` tokens at most a text."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise InputError(
                "input.tokenizers", "text needs the tokenizers package: pip install osd-edge[text]"
            ) from error
        if manifest.text is None:
            raise BaseError("base.text", f"{folder} was exported from a model without a tokenizer")
        limit = manifest.text.max_length
        if max_length is not None and not 1 <= max_length <= limit:
            raise InputError(
                "input.max-length", f"expected 1 to {limit} tokens, found {max_length}"
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the package raises bare Exception
            raise BaseError("base.text", f"cannot read {folder / TOKENIZER}: {error}") from error
        self._tokenizer.enable_truncation(max_length or limit)
        self._pad_id = manifest.text.pad_id
        self._names = manifest.inputs

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.int64]]:
        """Token inputs `[batch, tokens]` for `texts`, or for text pairs, padded on the right."""
        if isinstance(texts, str) or not texts or not all(isinstance(t, str) for t in texts):
            raise InputError("input.texts", "expected a list of one or more texts")
        for text in (*texts, *(pairs or ())):
            try:
                text.encode()
            except (AttributeError, UnicodeEncodeError) as error:
                raise InputError("input.texts", "a text is not valid Unicode") from error
        if pairs is not None and len(pairs) != len(texts):
            raise InputError("input.texts", f"{len(texts)} texts, but {len(pairs)} second texts")
        batch: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        try:
            encodings = self._tokenizer.encode_batch(batch)
        except BaseException as error:  # the package's panics are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BaseError("base.text", f"the tokenizer fails: {shown(str(error))}") from error
        length = max(1, *(len(encoding.ids) for encoding in encodings))
        ids = np.full((len(batch), length), self._pad_id, np.int64)
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


def answers(labels: Sequence[str], logits: Floats) -> list[Answer]:
    """One answer for each row of `logits` `[batch, labels]`."""
    result = []
    for row in softmax(logits):
        best = int(row.argmax())
        scores = dict(zip(labels, map(float, row), strict=True))
        result.append(Answer(labels[best], float(row[best]), scores))
    return result
