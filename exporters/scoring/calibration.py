"""A calibration set, and scores of a model on it."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import KINDS, Judged
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.score import Score


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
        """Says whether scores are against labels."""
        return self.batches[0].labels is not None

    @property
    def one_label(self) -> bool:
        """Says whether the right answer to a row is one label."""
        return KINDS[self._kind].labelled

    @property
    def reference(self) -> Sequence[Any]:
        """The fine-tuned model's logits, batch by batch."""
        return self._reference

    def reference_score(self) -> Score:
        """The fine-tuned model's own score."""
        return self.score_logits(self._reference)

    def score(self, model: Any, label: str, progress: Progress = silent) -> Score:
        """The score of `model` with the weights it holds now; `label` names the bar."""
        return self.score_logits(list(self._logits(model, label, progress)))

    def loss(self, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        """The loss of the logits of a labelled batch, summed over its right answers."""
        assert batch.labels is not None
        return KINDS[self._kind].label_loss(logits, batch.labels)

    def score_logits(self, logits: Sequence[Any]) -> Score:
        """The score of a model that gave `logits`, batch by batch."""
        kind = KINDS[self._kind]
        if not self.labelled:
            masks = [batch.mask for batch in self.batches]
            return Score(*kind.agreement(logits, self._reference, masks))
        judged = self._judged(logits)
        answers = sum(batch.answers for batch in judged)
        return Score(
            sum(batch.loss for batch in judged) / answers,
            sum(batch.right for batch in judged) / self.examples,
            self._next_same(judged),
        )

    def _judged(self, logits: Sequence[Any]) -> list[Judged]:
        kind, found = KINDS[self._kind], []
        for batch, given in zip(self.batches, logits, strict=True):
            assert batch.labels is not None
            found.append(kind.judged(given, batch.labels))
        return found

    def _next_same(self, judged: Sequence[Judged]) -> float | None:
        """The share of tokens whose likeliest next one is the reference's; None without any."""
        own = [batch.next_tokens for batch in judged if batch.next_tokens is not None]
        if not own:
            return None
        same = torch.cat(own) == self._reference_tokens
        return float(same.double().mean())

    @cached_property
    def _reference_tokens(self) -> torch.Tensor:
        """The likeliest next tokens by the reference."""
        judged = self._judged(self._reference)
        return torch.cat([batch.next_tokens for batch in judged if batch.next_tokens is not None])

    def _logits(self, model: Any, label: str, progress: Progress) -> Iterator[torch.Tensor]:
        with torch.inference_mode():
            for batch in progress(self.batches, label):
                yield model(**batch.tokens).logits.float()
