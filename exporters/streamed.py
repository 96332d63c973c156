"""Linear layers of a torch model whose weight is read when it is used, and then given back.

A model of such layers takes the memory of its embeddings and of one layer, whatever its size;
reading is a small part of the time, next to a batch of texts. Gradients go through to what the
layer takes; the weight, read anew for that, has none.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Read = Callable[[], torch.Tensor]


class _Product(torch.autograd.Function):
    """x Wᵀ with W from `read`, which the backward pass calls again."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, read: Read, dtype: torch.dtype) -> torch.Tensor:
        context.read, context.dtype = read, dtype
        return functional.linear(x.to(dtype), read().to(dtype)).float()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        weight = context.read().to(context.dtype)
        return (gradients[0].to(context.dtype) @ weight).float(), None, None


class StreamedLinear(torch.nn.Module):
    """y = x Wᵀ + b; W `[n, d]` is what `read` gives in float32, products are taken in `dtype`."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        """Take the place of `linear`, whose weight need not be there; `read` is yet to be set."""
        super().__init__()
        self.bias = linear.bias
        self.dtype = torch.float32
        self.read: Read = _unset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d]` → `[…, n]`."""
        y: torch.Tensor = _Product.apply(x, self.read, self.dtype)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias


def weight_of(layer: torch.nn.Module) -> torch.Tensor:
    """The weight `[n, d]` of a linear layer, streamed or not, as it is now."""
    if isinstance(layer, StreamedLinear):
        return layer.read()
    weight: torch.Tensor = layer.weight.data  # type: ignore[assignment]
    return weight


def _unset() -> torch.Tensor:
    raise RuntimeError("a streamed layer's weight was never set")
