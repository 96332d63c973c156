"""Changes to the files of a checkpoint, an adapter or a package, by which a test spoils it."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


def spoil(path: Path, change: Callable[[Tensors], object]) -> None:
    """Change tensors of the safetensors file `path`."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit(path: Path, **changes: object) -> None:
    """Change fields of the JSON file `path`."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
