"""Linear layers of a torch model whose weight is read when it is used, and then given back.

A model of such layers takes the memory of its embeddings and of one layer, whatever its size;
reading is a small part of the time, next to a batch of texts. Gradients go through to what the
layer takes. The weight, read anew for that, has none; who asks for it is given what it would be.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Read = Callable[[], torch.Tensor]
Take = Callable[[torch.Tensor], None]


class _Product(torch.autograd.Function):
    """x Wᵀ with W from the layer's `read`, which the backward pass calls again.

    `anchor` requires a gradient where the weight's is asked for: x may require none.
    """

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, layer: "StreamedLinear", anchor: torch.Tensor | None
    ) -> torch.Tensor:
        context.layer, context.read, context.dtype = layer, layer.read, layer.dtype
        if anchor is not None:
            context.save_for_backward(x)
            layer.uses += 1
        return functional.linear(x.to(layer.dtype), layer.read().to(layer.dtype)).float()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        (gradient,), back = gradients, None
        if context.needs_input_grad[0]:
            weight = context.read().to(context.dtype)
            back = (gradient.to(context.dtype) @ weight).float()
        for x in context.saved_tensors:
            context.layer.collect(gradient.flatten(0, -2).T @ x.flatten(0, -2))
        return back, None, None


class StreamedLinear(torch.nn.Module):
    """y = x Wᵀ + b; W `[n, d]` is what `read` gives in float32, products are taken in `dtype`.

    Where `take` is set, a backward pass gives it the weight's gradient `[n, d]`.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        """Take the place of `linear`, whose weight need not be there; `read` is yet to be set."""
        super().__init__()
        self.bias = linear.bias
        self.dtype = torch.float32
        self.read: Read = _unset
        self.from_file = False  # `read` gives what a file holds, and computes nothing
        self.take: Take | None = None
        self.uses = 0  # whose gradients are still to come: some families use a layer twice
        self._gradient: torch.Tensor | None = None

    def give_gradients_to(self, take: Take | None) -> None:
        """Set `take`; what a pass that was broken off had collected is forgotten."""
        self.take, self.uses, self._gradient = take, 0, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d]` → `[…, n]`."""
        y = self.product(x)
        return y if self.bias is None else y + self.bias

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x Wᵀ, without the bias."""
        anchor = None if self.take is None else torch.zeros((), requires_grad=True)
        y: torch.Tensor = _Product.apply(x, self, anchor)  # type: ignore[no-untyped-call]
        return y

    def collect(self, gradient: torch.Tensor) -> None:
        """Add the gradient from one use of the weight; the last one gives `take` their sum."""
        whole = gradient if self._gradient is None else self._gradient + gradient
        self.uses -= 1
        self._gradient = whole if self.uses else None
        if not self.uses and self.take is not None:
            self.take(whole)


def weight_of(layer: torch.nn.Module) -> torch.Tensor:
    """The weight `[n, d]` of a linear layer, streamed or not, as it is now."""
    if isinstance(layer, StreamedLinear):
        return layer.read()
    weight: torch.Tensor = layer.weight.data  # type: ignore[assignment]
    return weight


def _unset() -> torch.Tensor:
    raise RuntimeError("a streamed layer's weight was never set")
