"""The calibration set as batches of tokens, and scores of a model on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.models.image_preparation import Preparation
from osd_edge.exporters.scoring.pictures import Pixels

BATCH = 16
MAX_TOKENS = 128  # of a text, wherever one is scored: calibration set, test set or probe
_LETTERS = 32  # for each token that is used, read of a long text at first


@dataclass(frozen=True)
class Batch:
    """Token tensors `[rows, tokens]`, or pixel values; label indices `[rows]`, or None; rows'
    places in the set.
    """

    tokens: Mapping[str, torch.Tensor]
    labels: torch.Tensor | None
    rows: tuple[int, ...]

    @property
    def mask(self) -> torch.Tensor | None:
        """`[rows, tokens]`, 1 where there is a token; None for inputs that are no text."""
        return self.tokens.get("attention_mask")


@dataclass(frozen=True)
class Score:
    """Mean loss in nats, and the share of rows whose answer is right.

    With labels: cross-entropy and accuracy. Without: divergence from the fine-tuned model and
    agreement with its answers, as each kind of task has them.
    """

    loss: float
    accuracy: float


def mask_of(tokens: Mapping[str, torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    """The mask `[rows, tokens]` of a batch with these `states` `[rows, tokens, …]`.

    All of a picture's states are of it.
    """
    mask = tokens.get("attention_mask")
    return torch.ones(states.shape[:2], dtype=torch.int64) if mask is None else mask


def make_batches(
    examples: Sequence[Example],
    labels: Sequence[str],
    tokenizer: Any,
    inputs: Sequence[str],
    max_length: int,
    size: int = BATCH,
) -> list[Batch]:
    """Batches of `size` texts of like length in tokens; labelled where every example has a label.

    `inputs` are the token tensors that the model takes.
    """
    places = _places(examples, labels)
    most = min(max_length, MAX_TOKENS)
    texts = [_used(example, tokenizer, most) for example in examples]
    paired = examples[0].text_pair is not None

    def tokenized(chosen: Sequence[tuple[str, str | None]], **options: Any) -> Any:
        return tokenizer(
            [text for text, _ in chosen],
            [pair for _, pair in chosen] if paired else None,
            truncation=True,
            max_length=most,
            **options,
        )

    lengths = [len(ids) for ids in tokenized(texts)["input_ids"]]
    order = sorted(range(len(examples)), key=lambda i: (lengths[i], i))
    batches = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        tokens = tokenized([texts[i] for i in rows], padding=True, return_tensors="pt")
        inputs_of = {name: tokens[name] for name in inputs}
        batches.append(Batch(inputs_of, None if places is None else places[rows], tuple(rows)))
    return batches


def _used(example: Example, tokenizer: Any, most: int) -> tuple[str, str | None]:
    """As much of a text, or pair, as decides which `most` tokens of it are used.

    Texts of a book's length are read by the tokenizer otherwise, to the end and several times; of
    two in a pair it even makes every combination of their parts.
    """
    text, pair = example.text, example.text_pair
    longest = max(len(text), len(pair or ""))
    if tokenizer.truncation_side != "right" or longest <= _LETTERS * most:
        return text, pair
    if pair is None:
        return _beginning(text, tokenizer, most, 2 * most), None
    # The longer of a pair, in tokens, is cut first and gets an odd one: it has to stay the longer.
    swapped = _count(text, tokenizer) > _count(pair, tokenizer)
    shorter, longer = (pair, text) if swapped else (text, pair)
    shorter = _beginning(shorter, tokenizer, most, 2 * most)
    least = max(2 * most, _count(shorter, tokenizer))
    longer = _beginning(longer, tokenizer, most, least)
    return (longer, shorter) if swapped else (shorter, longer)


def _beginning(text: str, tokenizer: Any, most: int, least: int) -> str:
    """The first words of a long text, of more than `least` tokens; all of another.

    Tokens depend on what stands around them, but no farther than their own word, or what has no
    blank in it: where `least` is twice `most`, the first `most` are those of the whole text.
    """
    letters = _LETTERS * most
    while len(text) > letters:
        words = text[:letters].rsplit(maxsplit=1)
        if len(words) == 2 and _count(words[0], tokenizer) > least:
            return words[0]
        letters *= 4  # long words are one token, blanks often none
    return text


def _count(text: str, tokenizer: Any) -> int:
    """Tokens of a text, without special ones."""
    # Not verbose: it would warn of what the model does not take.
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def picture_batches(
    examples: Sequence[Example], labels: Sequence[str], preparation: Preparation, size: int
) -> list[Batch]:
    """Batches of `size` pictures in their order, labelled as those of texts are."""
    places = _places(examples, labels)
    files = [example.picture for example in examples if example.picture is not None]
    batches = []
    for start in range(0, len(files), size):
        rows = range(len(files))[start : start + size]
        targets = None if places is None else places[rows.start : rows.stop]
        batches.append(
            Batch(Pixels(files[rows.start : rows.stop], preparation), targets, tuple(rows))
        )
    return batches


def _places(examples: Sequence[Example], labels: Sequence[str]) -> torch.Tensor | None:
    """Each example's place in `labels`; None where one has no label."""
    if any(example.label is None for example in examples):
        return None
    index = {label: i for i, label in enumerate(labels)}
    return torch.tensor([index[example.label or ""] for example in examples])


class Calibration:
    """A calibration set, with the fine-tuned model's logits on it as the reference."""

    def __init__(
        self,
        batches: Sequence[Batch],
        model: Any,
        progress: Progress = silent,
        *,
        kind: str = "labels",
    ) -> None:
        """Take the logits of `model`, which holds the fine-tuned weights now."""
        self.batches = batches
        self._kind = kind
        self._reference = list(self._logits(model, "Fine-tuned on calibration set", progress))

    @property
    def examples(self) -> int:
        """Rows in the set."""
        return sum(len(batch.rows) for batch in self.batches)

    @property
    def labelled(self) -> bool:
        """Whether scores are against labels."""
        return self.batches[0].labels is not None

    def reference_score(self) -> Score:
        """The fine-tuned model's own score."""
        return self.score_logits(self._reference)

    def score(self, model: Any, label: str, progress: Progress = silent) -> Score:
        """The score of `model` with the weights it holds now; `label` names the bar."""
        return self.score_logits(list(self._logits(model, label, progress)))

    def score_logits(self, logits: Sequence[torch.Tensor]) -> Score:
        """The score of a model that gave `logits`, batch by batch."""
        if not self.labelled:
            masks = [batch.mask for batch in self.batches]
            return Score(*KINDS[self._kind].agreement(logits, self._reference, masks))
        loss, right = 0.0, 0
        for batch, given in zip(self.batches, logits, strict=True):
            assert batch.labels is not None
            loss += float(functional.cross_entropy(given, batch.labels, reduction="sum"))
            right += int((given.argmax(-1) == batch.labels).sum())
        return Score(loss / self.examples, right / self.examples)

    def _logits(self, model: Any, label: str, progress: Progress) -> Iterator[torch.Tensor]:
        with torch.inference_mode():
            for batch in progress(self.batches, label):
                yield model(**batch.tokens).logits.float()
