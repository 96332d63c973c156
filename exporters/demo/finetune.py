"""Full fine-tuning of a base on one demonstration task: the model whose delta is compressed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)
from transformers.utils import logging

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.demo.batches import batches

_WARM_UP = 0.1  # of all steps
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Training:
    """The settings of a training.

    `rate` is the learning rate's peak; texts are cut after `max_length` tokens.
    """

    seed: int = 0
    epochs: int = 3
    batch: int = 32
    rate: float = 1.5e-4
    max_length: int = 64


USUAL = Training()


def finetune(
    base: Path,
    task_labels: Sequence[str],
    train: Sequence[Example],
    out: Path,
    training: Training = USUAL,
    progress: Progress = silent,
) -> Path:
    """Train all weights of `base` to tell `task_labels` apart and save the model in `out`.

    `base` is a Hugging Face folder and `out` becomes one: fp32 weights as safetensors, the
    tokenizer, and the labels in the configuration in the order of `task_labels`. The same seed
    gives the same weights on the same machine; the caller's own random state is left alone.
    Raises ValueError for no examples and KeyError for an example with another label. Returns
    `out`.
    """
    seed = training.seed
    if not train:
        raise ValueError("no examples to train on")
    ids = {label: index for index, label in enumerate(task_labels)}
    targets = torch.tensor([ids[example.label or ""] for example in train])
    tokenizer = AutoTokenizer.from_pretrained(base)
    lengths = [len(example.text) for example in train]
    steps = batches(lengths, training.epochs, training.batch, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with _no_advice():
            model = AutoModelForSequenceClassification.from_pretrained(
                base,
                num_labels=len(ids),
                id2label=dict(enumerate(task_labels)),
                label2id=ids,
            ).train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=training.rate, weight_decay=_WEIGHT_DECAY
        )
        schedule = get_linear_schedule_with_warmup(
            optimizer, round(_WARM_UP * len(steps)), len(steps)
        )
        for chosen in progress(steps, f"fine-tuning {out.name}", len(steps)):
            inputs = tokenizer(
                [train[index].text for index in chosen],
                padding=True,
                truncation=True,
                max_length=training.max_length,
                return_tensors="pt",
            )
            loss = model(**inputs, labels=targets[chosen]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval().save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    return out


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep transformers from remarking that the new head is untrained: that is about to change."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
