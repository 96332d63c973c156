"""Opening small checkpoints and adapters that a test spoiled, and how that is refused."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from osd_edge.errors import OsdEdgeError
from osd_edge.exporters.models.fine_tuned import open_fine_tuned

QUERY = "encoder.layer.0.attention.self.query"


def write_adapter(folder: Path, *, head: bool = True, seed: int = 0, **settings: Any) -> Path:
    """A LoRA adapter of the base's first query layer as PEFT writes it, with a head of 3 labels."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    tensors = {
        f"bert.{QUERY}.lora_A.weight": random(2, 32),
        f"bert.{QUERY}.lora_B.weight": random(32, 2),
    }
    if head:
        tensors |= {"classifier.weight": random(3, 32), "classifier.bias": random(3)}
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "task_type": "SEQ_CLS"} | settings
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    """Code and message with which `action` is refused."""
    with pytest.raises(OsdEdgeError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return caught.value.code, message


def opening(models: Path) -> Callable[[], object]:
    return lambda: open_fine_tuned(models / "base", models / "first")


def adapting(
    models: Path, names: Iterable[str] = ("adapter",), labels: list[str] | None = None
) -> Callable[[], Any]:
    adapters: list[tuple[str | Path, float]] = [(models / name, 1.0) for name in names]
    return lambda: open_fine_tuned(models / "base", None, adapters=adapters, labels=labels)
