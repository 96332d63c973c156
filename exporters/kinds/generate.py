"""`generate`: text, a token after the other."""

from typing import Any

import torch

from osd_edge.exporters.kinds.base import Kind, divergence


class Generate(Kind):
    """A model that writes; its loss is KL(reference ‖ given) of the next token, in nats.

    The logits are the base's own: a task adds no head to them.
    """

    name = "generate"
    head = None
    peft_type = "CAUSAL_LM"
    model_class = "ForCausalLM"
    scored = False

    def is_of(self, architecture: str, config: Any) -> bool:
        """A class that predicts the next token."""
        return architecture.endswith((self.model_class, "LMHeadModel"))

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """KL(reference ‖ given) of the token that comes next, on average over the tokens given."""
        if mask is not None:
            given, reference = given[mask.bool()], reference[mask.bool()]
        return divergence(given.flatten(0, -2), reference.flatten(0, -2))

    def targets(self, logits: torch.Tensor) -> torch.Tensor:
        """The chances of each token."""
        return logits.softmax(-1)

    def target_loss(self, given: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with these chances."""
        return torch.nn.functional.cross_entropy(given, targets)
