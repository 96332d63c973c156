"""`spans`: where an answer starts and ends in a context."""

from typing import Any

import torch

from osd_edge.exporters.kinds.base import SPANS, Kind, divergence

_OUTSIDE = -1e4  # the logit of padding


class Spans(Kind):
    """A model that finds answers: every token is a label, for the start and for the end."""

    name = "spans"
    head = SPANS
    peft_type = "QUESTION_ANS"
    model_class = "ForQuestionAnswering"

    def is_of(self, architecture: str, config: Any) -> bool:
        """A class that answers questions."""
        return architecture.endswith(self.model_class)

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """KL(reference ‖ given) of the tokens where a span starts and ends, in nats."""
        assert mask is not None
        outside = ~mask.bool()[:, None]
        given, reference = (
            x.transpose(1, 2).masked_fill(outside, _OUTSIDE).flatten(0, 1)
            for x in (given, reference)
        )
        return 2 * divergence(given, reference)

    def same(
        self, ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Says whether both start and end are the reference's."""
        return super().same(ours, theirs, mask).all(-1)

    def answers(self, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The tokens `[rows, 2]` where the span starts and ends."""
        if mask is None:
            return logits.argmax(-1)
        return logits.masked_fill(~mask.bool()[..., None], -torch.inf).argmax(1)
