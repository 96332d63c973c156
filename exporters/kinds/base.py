"""The contract of a kind of task on the workstation: its loss, its agreement and its head.

Logits come batch by batch: `[rows, labels]`, or `[rows, tokens, labels]` for kinds with logits
for every token, with the mask `[rows, tokens]` that says which are no padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from osd_edge.formats.kinds import KINDS, TaskKind

SEQUENCE, TOKENS, SPANS = "sequence", "tokens", "spans"  # heads of a family, by task class

Logits = Sequence[torch.Tensor]
Masks = Sequence[torch.Tensor | None]


@dataclass(frozen=True)
class Judged:
    """A batch of answers against the right ones: a loss summed over `answers`, and rows all right.

    Of a task that writes, `next_tokens` `[answers]` are the likeliest tokens.
    """

    loss: float
    answers: int
    right: int
    next_tokens: torch.Tensor | None = None


class Kind(ABC):
    """One kind of task: how its answers are compared with the fine-tuned model's.

    `head` names the head of a family that the kind has, None for one without layers. `peft_type`
    is PEFT's name of the task, `model_class` the end of the name of its class in transformers.
    Where the kind is `labelled`, a row of a file may hold the right answer as one label. Where its
    answers are `chances`, a temperature softens them.
    """

    name: str
    head: str | None = SEQUENCE
    peft_type: str = "SEQ_CLS"
    model_class: str = "ForSequenceClassification"
    labelled: bool = False
    chances: bool = True
    least_labels: int = 0

    @property
    def format(self) -> TaskKind:
        """The facts of the kind that the bundle format states."""
        return KINDS[self.name]

    @abstractmethod
    def is_of(self, architecture: str, config: Any) -> bool:
        """Says whether a model of this class and configuration is of the kind."""

    @abstractmethod
    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The mean divergence of one batch from the reference's answers, with a gradient."""

    def agreement(self, given: Logits, reference: Logits, masks: Masks) -> tuple[float, float]:
        """Mean divergence, and the share of answers, 0 to 1, that are the reference's own."""
        total, weight = self.summed_loss(given, reference, masks)
        right, count = 0.0, 0
        for ours, theirs, mask in zip(given, reference, masks, strict=True):
            same = self.same(ours, theirs, mask)
            right += float(same.sum())
            count += same.numel()
        return max(total / weight, 0.0), min(right / count, 1.0)

    def summed_loss(self, given: Logits, reference: Logits, masks: Masks) -> tuple[float, int]:
        """The divergence of all answers together, batch by batch, and their number."""
        total, count = 0.0, 0
        for ours, theirs, mask in zip(given, reference, masks, strict=True):
            size = self.size(ours, mask)
            total += float(self.loss(ours, theirs, mask)) * size
            count += size
        return total, count

    def size(self, logits: torch.Tensor, mask: torch.Tensor | None) -> int:
        """The number of answers that the loss of a batch is the mean of."""
        return len(logits)

    def same(
        self, ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The agreement of each answer with the reference's: a truth, or a number from 0 to 1."""
        return self.answers(ours, mask) == self.answers(theirs, mask)

    def answers(self, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The answers that logits stand for; of a `labelled` kind the index of a label a row."""
        return logits.argmax(-1)

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a `labelled` kind, summed over rows whose right answers are `labels`."""
        return functional.cross_entropy(logits, labels, reduction="sum")

    def judged(self, logits: torch.Tensor, labels: torch.Tensor) -> Judged:
        """The logits of a batch of a `labelled` kind, against its right answers."""
        right = int(torch.eq(self.answers(logits, None), labels).sum())
        return Judged(float(self.label_loss(logits, labels)), len(labels), right)

    def probe(
        self, logits: torch.Tensor, mask: torch.Tensor | None, generator: torch.Generator
    ) -> torch.Tensor:
        """A number whose gradient says, on average over draws, how much outputs matter.

        ⟨v, logits⟩ with v ~ N(0, I): the gradient's second moment is then that of the logits'
        Euclidean metric. What padding answers is no matter.
        """
        direction = torch.randn(logits.shape, generator=generator)
        if logits.ndim == 3 and mask is not None:
            direction = direction * mask[..., None]
        return (logits * direction).sum()

    def squared_error(self, given: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """The mean squared error of one batch's logits, with a gradient."""
        return functional.mse_loss(given, reference)

    def targets(self, logits: torch.Tensor) -> torch.Tensor:
        """The targets of a head over the frozen base, from the fine-tuned model's logits."""
        return logits

    def target_loss(self, given: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of such a head's logits `given` against its targets."""
        return functional.mse_loss(given, targets)


def divergence(given: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean KL(reference ‖ given) in nats over rows of logits `[rows, labels]`."""
    return functional.kl_div(
        given.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="batchmean"
    )


def is_sequence_class(architecture: str) -> bool:
    """Says whether a model class gives one answer for a whole text or picture."""
    return architecture.endswith(("ForSequenceClassification", "ForImageClassification"))
