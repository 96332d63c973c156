"""`embedding`: a vector for a text."""

from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.kinds.base import Kind


class Embedding(Kind):
    """A model of vectors; its loss is 1 − cosine, half the squared distance of unit vectors."""

    name = "embedding"
    head = None
    peft_type = "FEATURE_EXTRACTION"
    model_class = "Model"
    chances = False

    def is_of(self, architecture: str, config: Any) -> bool:
        """A backbone without a head, which the LMHeadModel of GPT-2 is not."""
        return architecture.endswith(self.model_class) and not architecture.endswith("LMHeadModel")

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """1 − cosine, on average over rows."""
        return (1 - functional.cosine_similarity(given, reference)).mean()

    def same(
        self, ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The cosine of each row, none of them below 0."""
        return functional.cosine_similarity(ours, theirs).clamp_min(0)
