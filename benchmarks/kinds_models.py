"""Full fine-tuning of a tagger and of a span finder, on generated data."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from benchmarks.kinds_data import TAGS, Asked, Tagged
from osd_edge.data.progress import Progress, silent

_BATCH = 16
_RATE = 2e-4
_NO_LABEL = -100  # what torch's loss passes over


def train_tagger(
    base: Path, examples: Sequence[Tagged], out: Path, epochs: int, progress: Progress = silent
) -> Path:
    """Fine-tune `base` to tag and save it in `out`; every token of a span has its tag."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForTokenClassification.from_pretrained(
        base,
        num_labels=len(TAGS),
        id2label=dict(enumerate(TAGS)),
        label2id={tag: i for i, tag in enumerate(TAGS)},
    )

    def targets(batch: Sequence[Tagged]) -> dict[str, torch.Tensor]:
        tokens = tokenizer(
            [x.text for x in batch],
            padding=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        offsets, special = tokens.pop("offset_mapping"), tokens.pop("special_tokens_mask")
        labels = torch.full(offsets.shape[:2], _NO_LABEL)
        for row, example in enumerate(batch):
            for i, (start, end) in enumerate(offsets[row].tolist()):
                if not special[row, i]:
                    labels[row, i] = _tag(example, start, end)
        return dict(tokens) | {"labels": labels}

    tokenizer.save_pretrained(out)
    return _train(model, examples, targets, out, epochs, progress)


def train_finder(
    base: Path, examples: Sequence[Asked], out: Path, epochs: int, progress: Progress = silent
) -> Path:
    """Fine-tune `base` to find answers and save it in `out`."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForQuestionAnswering.from_pretrained(base)

    def targets(batch: Sequence[Asked]) -> dict[str, torch.Tensor]:
        tokens = tokenizer(
            [x.question for x in batch],
            [x.context for x in batch],
            padding=True,
            return_tensors="pt",
        )
        starts = [tokens.char_to_token(i, x.start, 1) for i, x in enumerate(batch)]
        ends = [tokens.char_to_token(i, x.end - 1, 1) for i, x in enumerate(batch)]
        answers = {"start_positions": torch.tensor(starts), "end_positions": torch.tensor(ends)}
        return dict(tokens) | answers

    tokenizer.save_pretrained(out)
    return _train(model, examples, targets, out, epochs, progress)


def _tag(example: Tagged, start: int, end: int) -> int:
    for first, last, tag in example.spans:
        if first <= start and end <= last:
            return TAGS.index(f"{'B' if start == first else 'I'}-{tag}")
    return 0


def _train(
    model: Any,
    examples: Sequence[Any],
    targets: Callable[[Sequence[Any]], dict[str, torch.Tensor]],
    out: Path,
    epochs: int,
    progress: Progress,
) -> Path:
    rng = random.Random(0)
    torch.manual_seed(0)
    batches = []
    for _ in range(epochs):
        order = rng.sample(range(len(examples)), len(examples))
        batches += [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    model.train()
    for chosen in progress(batches, f"fine-tuning {out.name}", len(batches)):
        loss = model(**targets([examples[i] for i in chosen])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(out)
    return out
