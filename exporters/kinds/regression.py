"""`regression`: numbers."""

from typing import Any

import torch

from osd_edge.exporters.kinds.base import Kind, Logits, Masks, is_sequence_class

_LEAST_VARIANCE = 1e-6


class Regression(Kind):
    """A model of numbers; its loss is the squared error over the reference's variance."""

    name = "regression"
    chances = False

    def is_of(self, architecture: str, config: Any) -> bool:
        """A sequence class for numbers, or one that does not say and has one output."""
        numbers = config.problem_type == "regression"
        unsaid = config.problem_type is None and config.num_labels == 1
        return is_sequence_class(architecture) and (numbers or unsaid)

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The squared error of each number over its variance in the batch, added up."""
        variance = reference.var(0, correction=0).clamp_min(_LEAST_VARIANCE)
        return ((given - reference).square() / variance).sum(-1).mean()

    def agreement(self, given: Logits, reference: Logits, masks: Masks) -> tuple[float, float]:
        """The loss over all rows, and the share of the reference's variance that is explained."""
        loss = self._loss_of_all(given, reference)
        outputs = given[0].shape[-1]
        return loss, min(max(0.0, 1 - loss / outputs), 1.0)

    def summed_loss(self, given: Logits, reference: Logits, masks: Masks) -> tuple[float, int]:
        """Over the variance of all rows: that of a batch may be next to nothing."""
        rows = sum(map(len, given))
        return rows * self._loss_of_all(given, reference), rows

    def _loss_of_all(self, given: Logits, reference: Logits) -> float:
        return float(self.loss(torch.cat(list(given)), torch.cat(list(reference)), None))
