"""Linear layers under another name, made plain ones: weight `[n, d]`, as every stage expects.

GPT-2 keeps its weights in `Conv1D` modules as `[d, n]`. In memory they become `torch.nn.Linear`,
which also exports as a MatMul over the whole batch rather than a Gemm over loose rows.
"""

from typing import Any

import torch
from transformers.pytorch_utils import Conv1D


def linear_shape(module: torch.nn.Module) -> tuple[int, int] | None:
    """Outputs n and inputs d of a linear layer of any kind; None of another module."""
    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):
        return int(module.weight.shape[1]), int(module.weight.shape[0])
    return None


def with_plain_linear_layers(model: Any) -> Any:
    """`model`, with every Conv1D replaced by the equal Linear; weights are copied one by one."""
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Conv1D)]
    for name, layer in found:
        d, n = layer.weight.shape
        plain = torch.nn.utils.skip_init(torch.nn.Linear, d, n)  # type: ignore[no-untyped-call]
        plain.weight = torch.nn.Parameter(layer.weight.detach().T.contiguous())
        plain.bias = layer.bias
        model.set_submodule(name, plain)
    return model
