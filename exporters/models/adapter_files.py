"""Finds the weights of a PEFT adapter in its folder, or says what lies there in their place."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.folders_below import given_instead
from osd_edge.exporters.models.unreadable import why_unreadable

CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_MERGED = ".merge_and_unload().save_pretrained(DIR), and give --tuned DIR"
# What to do with an adapter that is not read, of which its files are enough, or not.
MERGE_FILES = f"merge it, PeftModel.from_pretrained(base, ADAPTER){_MERGED}"
MERGE_TRAINED = f"merge it in the process that trained it, model{_MERGED}"
# Reads no more of a pickle than tensors.
_CONVERSION = (
    "import torch, safetensors.torch as s; "
    f"s.save_file({{k: v.contiguous() for k, v in torch.load('{_PICKLE}', weights_only=True)"
    f".items()}}, '{ADAPTER_WEIGHTS}')"
)


def adapter_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the adapter in `folder`, by their names in the file.

    Raises ModelError `model.adapter` where there is no readable file of them.
    """
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise ModelError(Code.MODEL_ADAPTER, _missing(folder))
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        why = why_unreadable(path, error)
        raise ModelError(Code.MODEL_ADAPTER, f"cannot read {path}: {why}") from error
    return tensors


def no_config(folder: Path) -> ModelError:
    """The refusal of a folder without an adapter's configuration, with those below that have it."""
    return ModelError(
        Code.MODEL_ADAPTER,
        f"{folder} is no PEFT adapter: cannot read {CONFIG}{given_instead(folder, CONFIG)}",
    )


def _missing(folder: Path) -> str:
    if (folder / _PICKLE).is_file():
        return (
            f"{folder} has its weights in {_PICKLE}, a pickle, which is not read; in that folder, "
            f'run: python -c "{_CONVERSION}"'
        )
    return f"{folder} has no {ADAPTER_WEIGHTS}: save the adapter with save_pretrained"
