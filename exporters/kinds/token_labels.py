"""`token-labels`: one label of several for each token."""

from typing import Any

import torch

from osd_edge.exporters.kinds.base import TOKENS, Kind, divergence
from osd_edge.exporters.kinds.labels import Labels


class TokenLabels(Kind):
    """A tagger; padding counts nowhere."""

    name = "token-labels"
    head = TOKENS
    peft_type = "TOKEN_CLS"
    model_class = "ForTokenClassification"

    def is_of(self, architecture: str, config: Any) -> bool:
        """A class that labels tokens."""
        return architecture.endswith(self.model_class)

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """KL(reference ‖ given) of the labels of a token, in nats."""
        assert mask is not None
        return divergence(given[mask.bool()], reference[mask.bool()])

    def size(self, logits: torch.Tensor, mask: torch.Tensor | None) -> int:
        """Tokens that are no padding."""
        return len(logits) if mask is None else int(mask.sum())

    def answers(self, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The label of each token that is no padding."""
        return (logits if mask is None else logits[mask.bool()]).argmax(-1)

    targets = Labels.targets
    target_loss = Labels.target_loss
