"""`multi-label`: any labels of several, each for itself."""

from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.kinds.base import Kind, is_sequence_class


class MultiLabel(Kind):
    """A classifier of several labels; its loss is the sum of the labels' own divergences."""

    name = "multi-label"

    def is_of(self, architecture: str, config: Any) -> bool:
        """A sequence class for several labels."""
        several = config.problem_type == "multi_label_classification"
        return is_sequence_class(architecture) and several

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """KL(reference ‖ given) of each label of a row, added up, in nats."""
        ours, theirs = (torch.stack((x, -x), -1) for x in (given, reference))
        ours, theirs = functional.logsigmoid(ours), functional.logsigmoid(theirs)
        return functional.kl_div(ours, theirs, reduction="sum", log_target=True) / len(given)

    def answers(self, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Truths `[rows, labels]`, one for each label that applies."""
        return logits > 0

    def targets(self, logits: torch.Tensor) -> torch.Tensor:
        """The chance that each label applies."""
        return logits.sigmoid()

    def target_loss(self, given: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy with these chances."""
        return functional.binary_cross_entropy_with_logits(given, targets)
