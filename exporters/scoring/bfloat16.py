"""Linear layers in bfloat16, while a student is trained, where the processor multiplies in it.

About twice as fast as float32 there. A processor that has bfloat16 among its vector instructions
alone (avx512_bf16) is not among them: torch's products take twice as long as in float32 on it (a
Xeon without AMX, torch 2.13: 174 against 330 GFLOP/s at layers of SmolLM2). Sums stay in float32,
and so do activations between layers, latents and their optimiser.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.models.streamed import StreamedLinear
from osd_edge.exporters.scoring.input_rounding import round_inputs, rounds_inputs

_LEAST = 128  # smaller layers stay as they are: nothing to win
_MULTIPLIES = ("amx_bf16", "bf16", "sve_bf16")  # by name in torch


def training_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies in it, else float32."""
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if any(able.get(name) for name in _MULTIPLIES) else torch.float32


class LowLinear(torch.nn.Module):
    """A frozen linear layer that multiplies in another type; takes and gives float32."""

    def __init__(self, linear: torch.nn.Linear, dtype: torch.dtype) -> None:
        """Copy the weight to `dtype`."""
        super().__init__()
        self.weight = linear.weight.data.to(dtype)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d]` → `[…, n]`."""
        y = functional.linear(x.to(self.weight.dtype), self.weight).float()
        return y if self.bias is None else y + self.bias


@contextmanager
def lowered(module: Any, dtype: torch.dtype, *, only_streamed: bool = False) -> Iterator[None]:
    """Within this, the linear layers of `module` multiply in `dtype`; afterwards as before.

    With `only_streamed`, a model small enough to be in memory is left as it is.
    """
    found = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear) and min(layer.weight.shape) >= _LEAST
    ]
    replaced = found if dtype != torch.float32 and not only_streamed else []
    for name, layer in replaced:
        low = LowLinear(layer, dtype)
        if rounds_inputs(layer):
            round_inputs(low)
        module.set_submodule(name, low)
    streamed = [part for part in module.modules() if isinstance(part, StreamedLinear)]
    for part in streamed:
        part.dtype = dtype
    try:
        yield
    finally:
        for part in streamed:
            part.dtype = torch.float32
        for name, layer in replaced:
            module.set_submodule(name, layer)
