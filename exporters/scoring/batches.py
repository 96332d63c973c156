"""Examples as batches of tokens or pixel values, the same wherever a model is run to be scored.

Fine-tuning draws batches of its own, anew in each epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from osd_edge.data.examples import Example
from osd_edge.data.long_texts import CutSide, used_texts
from osd_edge.exporters.models.image_preparation import Preparation
from osd_edge.exporters.scoring.pictures import Pixels

BATCH = 16
MAX_TOKENS = 128  # of a text, wherever one is scored: calibration set, test set or probe


@dataclass(frozen=True)
class Batch:
    """Token tensors `[rows, tokens]`, or pixel values, of some rows of a set.

    `labels` are label indices `[rows]`, or None; `rows` are the rows' numbers in the set.
    """

    tokens: Mapping[str, torch.Tensor]
    labels: torch.Tensor | None
    rows: tuple[int, ...]

    @property
    def mask(self) -> torch.Tensor | None:
        """`[rows, tokens]`, 1 where there is a token; None for inputs that are no text."""
        return self.tokens.get("attention_mask")


def mask_of(tokens: Mapping[str, torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    """The mask `[rows, tokens]` of a batch with these `states` `[rows, tokens, …]`.

    All of a picture's states are of it.
    """
    mask = tokens.get("attention_mask")
    return torch.ones(states.shape[:2], dtype=torch.int64) if mask is None else mask


def make_batches(
    examples: Sequence[Example],
    labels: Sequence[str] | None,
    tokenizer: Any,
    inputs: Sequence[str],
    max_length: int,
    size: int = BATCH,
) -> list[Batch]:
    """Batches of `size` texts of like length in tokens, so that hardly any padding is computed.

    `inputs` are the token tensors that the model takes. Batches are labelled where every example
    has a label, which is one of `labels`; None for no labels in any case.
    """
    targets = _targets(examples, labels)
    most = min(max_length, MAX_TOKENS)
    texts = [_used(example, tokenizer, most) for example in examples]
    paired = examples[0].text_pair is not None

    def tokenized(chosen: Sequence[tuple[str, str | None]], **options: Any) -> Any:
        return tokenizer(
            [text for text, _ in chosen],
            [pair for _, pair in chosen] if paired else None,
            truncation=True,
            max_length=most,
            # Not by the tokenizer's own habit, which differs between versions of transformers.
            return_attention_mask=True,
            return_token_type_ids="token_type_ids" in inputs,
            **options,
        )

    lengths = [len(ids) for ids in tokenized(texts)["input_ids"]]
    order = sorted(range(len(examples)), key=lambda i: (lengths[i], i))
    batches = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        tokens = tokenized([texts[i] for i in rows], padding=True, return_tensors="pt")
        inputs_of = {name: tokens[name] for name in inputs}
        batches.append(Batch(inputs_of, None if targets is None else targets[rows], tuple(rows)))
    return batches


def prompted(examples: Sequence[Example], prompt: str) -> Sequence[Example]:
    """The examples with a task's prompt before each first text."""
    return [replace(e, text=prompt + e.text) for e in examples] if prompt else examples


def _used(example: Example, tokenizer: Any, most: int) -> tuple[str, str | None]:
    """Cuts a text, or pair, to as much as decides which `most` tokens of it are used."""
    side: CutSide = tokenizer.truncation_side

    def count(text: str) -> int:
        return _count(text, tokenizer)

    return used_texts(example.text, example.text_pair, most, side, count)


def _count(text: str, tokenizer: Any) -> int:
    """Tokens of a text, without special ones."""
    # Not verbose: it would warn of what the model does not take.
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def picture_batches(
    examples: Sequence[Example], labels: Sequence[str], preparation: Preparation, size: int
) -> list[Batch]:
    """Batches of `size` pictures in their order, labelled as those of texts are."""
    targets = _targets(examples, labels)
    files = [example.picture for example in examples if example.picture is not None]
    batches = []
    for start in range(0, len(files), size):
        rows = range(len(files))[start : start + size]
        own = None if targets is None else targets[rows.start : rows.stop]
        batches.append(Batch(Pixels(files[rows.start : rows.stop], preparation), own, tuple(rows)))
    return batches


def _targets(examples: Sequence[Example], labels: Sequence[str] | None) -> torch.Tensor | None:
    """The index in `labels` of each example's label; None where one has none."""
    if labels is None or any(example.label is None for example in examples):
        return None
    index = {label: i for i, label in enumerate(labels)}
    return torch.tensor([index[example.label or ""] for example in examples])
