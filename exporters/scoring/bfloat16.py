"""Linear layers in bfloat16, while a student is trained, where the processor is faster in it.

About twice as fast as float32 there; some that can multiply in it are slower. Sums stay in float32,
and so do activations between layers, latents and their optimiser.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from osd_edge.exporters.models.streamed import StreamedLinear
from osd_edge.exporters.scoring.input_rounding import round_inputs, rounds_inputs

_LEAST = 128  # smaller layers stay as they are: nothing to win
_TRIED, _TRIES = 512, 5  # rows and columns of what is multiplied to tell which type is faster
_MULTIPLIES = ("amx_bf16", "amx_tile", "avx512_bf16", "bf16", "sve_bf16")  # by name in torch


@cache
def training_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies in it, and faster than in float32, else that."""
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not any(able.get(name) for name in _MULTIPLIES):
        return torch.float32
    # Processors with avx512_bf16 but without AMX, or with AMX switched off, were seen to take 1.75
    # times as long as in float32; those with AMX half as long.
    least = dict.fromkeys((torch.bfloat16, torch.float32), float("inf"))
    factors = {dtype: torch.ones(_TRIED, _TRIED, dtype=dtype) for dtype in least}
    for _ in range(_TRIES):
        for dtype, factor in factors.items():
            began = time.process_time()
            functional.linear(factor, factor)
            least[dtype] = min(least[dtype], time.process_time() - began)
    return min(least, key=least.__getitem__)


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
