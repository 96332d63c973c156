"""Rounding what a linear layer takes to 8 bits, as a base with `int8` weights does on a device.

DynamicQuantizeLinear of ONNX: one scale for the whole tensor, whose range includes 0, and codes
0 … 255. Gradients pass as if nothing were rounded (Bengio et al., arXiv 1308.3432).
"""

from typing import Any

import torch

_FLAG = "rounds_inputs"


def rounded(x: torch.Tensor) -> torch.Tensor:
    """`x` at the nearest of 256 evenly spaced values."""
    with torch.no_grad():
        low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
        scale = ((high - low) / 255).clamp_min(1e-30)
        zero = (-low / scale).round().clamp(0, 255)
        values = ((x / scale).round() + zero).clamp(0, 255).sub(zero).mul(scale)
    return x + (values - x).detach()


def round_inputs(layer: torch.nn.Module, on: bool = True) -> None:
    """From now on `layer` rounds (or does not round) what it takes; copies of it do as it does."""
    if not hasattr(layer, _FLAG):
        layer.register_forward_pre_hook(_before)
    setattr(layer, _FLAG, on)


def rounds_inputs(layer: torch.nn.Module) -> bool:
    """Says whether `layer` rounds what it takes."""
    return bool(getattr(layer, _FLAG, False))


def _before(layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    # Asked of the layer that runs, since copies share their hooks.
    return (rounded(inputs[0]), *inputs[1:]) if rounds_inputs(layer) else None
