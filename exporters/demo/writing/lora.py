"""LoRA over the linear layers of a decoder: trained in torch, written as PEFT writes it."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch.nn import functional

from osd_edge.data.files import write_files
from osd_edge.exporters.models.adapter_files import ADAPTER_WEIGHTS, CONFIG

_PREFIX = "base_model.model."  # PEFT's, before the path of a module


class LoraLinear(torch.nn.Module):
    """A frozen linear layer with a LoRA branch: y = W x + b + (α / r) B A x.

    A `[r, d]` is drawn as PEFT draws it, B `[n, r]` is zero, so that nothing is changed at first.
    """

    def __init__(self, linear: torch.nn.Linear, rank: int, alpha: float) -> None:
        """Wraps a layer, which stays as it is."""
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        self.a = torch.nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = torch.nn.Parameter(torch.zeros(linear.out_features, rank))
        torch.nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d]` → `[…, n]`."""
        branch = functional.linear(functional.linear(x, self.a), self.b)
        return torch.add(self.linear(x), branch, alpha=self.scale)


class Lora:
    """The LoRA branches of a model: each linear layer of its backbone has one while it is entered.

    Attributes:
        rank: r, of every branch.
        alpha: α, of every branch.
        branches: The wrapped layers, by their path in the model.
    """

    def __init__(self, model: Any, rank: int, alpha: float) -> None:
        """Takes a causal language model of transformers; draws by torch's random state."""
        self.rank, self.alpha = rank, alpha
        self._model = model
        self.branches = {
            name: LoraLinear(layer, rank, alpha)
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear) and name.startswith(model.base_model_prefix)
        }

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """A and B of all branches."""
        return [factor for one in self.branches.values() for factor in (one.a, one.b)]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this the model has the branches; afterwards its own layers again."""
        for name, branch in self.branches.items():
            self._model.set_submodule(name, branch)
        try:
            yield
        finally:
            for name, branch in self.branches.items():
                self._model.set_submodule(name, branch.linear)

    def save(self, folder: Path) -> None:
        """Writes the two files of an adapter, as PEFT names and reads them."""
        tensors = {}
        for name, branch in self.branches.items():
            tensors[f"{_PREFIX}{name}.lora_A.weight"] = branch.a.detach().contiguous()
            tensors[f"{_PREFIX}{name}.lora_B.weight"] = branch.b.detach().contiguous()
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted({name.rpartition(".")[2] for name in self.branches}),
            "inference_mode": True,
        }
        write_files(
            {
                folder / CONFIG: (json.dumps(config, indent=1) + "\n").encode(),
                folder / ADAPTER_WEIGHTS: save(tensors, metadata={"format": "pt"}),
            }
        )
