"""`labels`: one label of several for a text or a picture."""

from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.kinds.base import Kind, divergence, is_sequence_class


class Labels(Kind):
    """A classifier of one label; its loss is KL(reference ‖ given) in nats."""

    name = "labels"
    labelled = True
    least_labels = 2

    def is_of(self, architecture: str, config: Any) -> bool:
        """A sequence class for one label, or one that does not say and has several outputs."""
        single = config.problem_type == "single_label_classification"
        unsaid = config.problem_type is None and config.num_labels != 1
        return is_sequence_class(architecture) and (single or unsaid)

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """KL(reference ‖ given) of the labels of a row, in nats."""
        return divergence(given, reference)

    def targets(self, logits: torch.Tensor) -> torch.Tensor:
        """The chances of each label."""
        return logits.softmax(-1)

    def target_loss(self, given: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with these chances."""
        return functional.cross_entropy(given, targets)
