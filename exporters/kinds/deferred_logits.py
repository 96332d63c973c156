"""Logits of the next token that are never in memory together.

A vocabulary has 50,000 to 260,000 tokens: logits of all tokens of a batch, and their gradients,
would take gigabytes. What is kept is the states they are made of; losses are taken some tokens at
a time, and so are their gradients, which are as wide as a state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

_AT_ONCE = 1 << 24  # logits in memory: 64 MiB in float32

LossOf = Callable[[torch.Tensor, slice], torch.Tensor]


@dataclass(frozen=True)
class DeferredLogits:
    """Logits `[tokens, vocabulary]` = cap · tanh((`states` W^T + b) / cap), by `temperature`.

    `states` `[tokens, hidden]` are those of the tokens that count, W is `weight`
    `[vocabulary, hidden]`; without `bias` none is added, and with a `cap` of 0 nothing is bounded.
    """

    states: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None = None
    cap: float = 0.0
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.states)

    def __truediv__(self, temperature: float) -> "DeferredLogits":
        return replace(self, temperature=self.temperature * temperature)

    def float(self) -> "DeferredLogits":
        """Gives itself: logits are float32 when they are made."""
        return self

    def of(self, states: torch.Tensor) -> torch.Tensor:
        """The logits of some states."""
        logits = functional.linear(states, self.weight, self.bias)
        if self.cap:
            logits = self.cap * (logits / self.cap).tanh()
        return logits / self.temperature

    def total(self, loss_of: LossOf) -> torch.Tensor:
        """The sum of `loss_of(logits, part)` over parts of the tokens, with a gradient."""
        total: torch.Tensor = _InParts.apply(self.states, self, loss_of)  # type: ignore[no-untyped-call]
        return total

    @torch.no_grad()
    def each(self, value_of: LossOf) -> torch.Tensor:
        """`value_of(logits, part)` `[tokens in part]` of all parts, one after the other."""
        return torch.cat([value_of(self.of(self.states[part]), part) for part in self.parts()])

    def parts(self) -> Iterator[slice]:
        """Parts of the tokens, few enough that their logits fit in memory."""
        size = max(1, _AT_ONCE // len(self.weight))
        for start in range(0, max(len(self), 1), size):
            yield slice(start, start + size)


def next_token_divergence(given: DeferredLogits, reference: DeferredLogits) -> torch.Tensor:
    """Mean KL(reference ‖ given) in nats a token, with a gradient for the given states."""

    def loss(logits: torch.Tensor, part: slice) -> torch.Tensor:
        with torch.no_grad():
            expected = reference.of(reference.states[part]).log_softmax(-1)
        return functional.kl_div(logits.log_softmax(-1), expected, log_target=True, reduction="sum")

    return given.total(loss) / len(given)


def surprise(logits: DeferredLogits, tokens: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood of `tokens` `[tokens]`, summed, in nats, with a gradient."""
    return logits.total(
        lambda own, part: functional.cross_entropy(own, tokens[part], reduction="sum")
    )


def likeliest(logits: DeferredLogits) -> torch.Tensor:
    """The likeliest next token `[tokens]`."""
    return logits.each(lambda own, _: own.argmax(-1))


def losses_and_likeliest(
    logits: DeferredLogits, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The negative log-likelihood of each of `tokens`, and the likeliest token in its place.

    Both are `[tokens]`, and the logits are made once for them.
    """
    found = logits.each(
        lambda own, part: torch.stack(
            [
                functional.cross_entropy(own, tokens[part], reduction="none").double(),
                own.argmax(-1).double(),
            ],
            dim=1,
        )
    )
    return found[:, 0], found[:, 1].long()


def drawn(logits: DeferredLogits, generator: torch.Generator) -> torch.Tensor:
    """A next token `[tokens]` each, drawn by its chance."""
    return logits.each(lambda own, _: own.softmax(-1).multinomial(1, generator=generator)[:, 0])


class _InParts(torch.autograd.Function):
    """A sum over tokens whose gradient is taken part by part, on the way forward."""

    @staticmethod
    def forward(
        context: Any, states: torch.Tensor, logits: DeferredLogits, loss_of: LossOf
    ) -> torch.Tensor:
        total = states.new_zeros(())
        wanted = context.needs_input_grad[0]
        gradients = torch.zeros_like(states) if wanted else None
        for part in logits.parts():
            with torch.set_grad_enabled(wanted):
                own = states[part].detach().requires_grad_(wanted)
                loss = loss_of(logits.of(own), part)
            if gradients is not None:
                (gradients[part],) = torch.autograd.grad(loss, own)
            total = total + loss.detach()
        context.save_for_backward(*([] if gradients is None else [gradients]))
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        (own,) = context.saved_tensors
        return gradients[0] * own, None, None
