"""`generate`: text, a token after the other."""

from typing import Any

import torch

from osd_edge.exporters.kinds.base import Judged, Kind
from osd_edge.exporters.kinds.deferred_logits import (
    drawn,
    likeliest,
    losses_and_likeliest,
    mean_squared_error,
    next_token_divergence,
    surprise,
)

NOT_COUNTED = -100  # in the place of a target, where a token is padding or of a prompt


class Generate(Kind):
    """A model that writes; its loss is KL(reference ‖ given) of the next token, in nats.

    The logits are the base's own: a task adds no head to them. They are deferred, and of the
    tokens of completions alone. The right answer of a row is its completion, token for token.
    """

    name = "generate"
    head = None
    peft_type = "CAUSAL_LM"
    model_class = "ForCausalLM"

    def is_of(self, architecture: str, config: Any) -> bool:
        """A class that predicts the next token."""
        return architecture.endswith((self.model_class, "LMHeadModel"))

    def loss(self, given: Any, reference: Any, mask: torch.Tensor | None) -> torch.Tensor:
        """KL(reference ‖ given) of the token that comes next, on average over the tokens."""
        return next_token_divergence(given, reference)

    def size(self, logits: Any, mask: torch.Tensor | None) -> int:
        """The tokens of completions."""
        return len(logits)

    def answers(self, logits: Any, mask: torch.Tensor | None) -> torch.Tensor:
        """The likeliest next token at each token of a completion."""
        return likeliest(logits)

    def probe(
        self, logits: Any, mask: torch.Tensor | None, generator: torch.Generator
    ) -> torch.Tensor:
        """The surprise of tokens that are drawn from the model's own distribution.

        Its gradient's second moment is Fisher's information; ⟨v, logits⟩ would weigh 50,000
        tokens alike, nearly all of which are never written.
        """
        return surprise(logits, drawn(logits, generator))

    def label_loss(self, logits: Any, labels: torch.Tensor) -> torch.Tensor:
        """The surprise of the completions' tokens, summed; `labels` as `judged` has them."""
        return surprise(logits, labels[labels != NOT_COUNTED])

    def judged(self, logits: Any, labels: torch.Tensor) -> Judged:
        """The surprise of completions, in nats a token, and the rows that are written exactly.

        With the completion before it the likeliest token is what greedy writing would write, as
        long as it has written the completion so far: a row all of whose likeliest tokens are the
        completion's own is one that greedy writing gets right from the first token to the last.
        `labels` `[rows, tokens]` has each next token, and NOT_COUNTED where none counts.
        """
        counted = labels != NOT_COUNTED
        tokens = labels[counted]
        losses, likely = losses_and_likeliest(logits, tokens)
        same = torch.ones_like(counted)
        same[counted] = likely == tokens
        return Judged(float(losses.sum()), len(tokens), int(same.all(1).sum()), likely)

    def squared_error(self, given: Any, reference: Any) -> torch.Tensor:
        """The mean squared error of the logits of all tokens that might come next."""
        return mean_squared_error(given, reference)
