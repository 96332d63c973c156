"""A Hugging Face checkpoint on disk, read one tensor at a time.

Weights stay in memory-mapped safetensors files, single or sharded, so that comparing two models
needs memory for one layer.
"""

import fnmatch
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig

from osd_edge.errors import ModelError, shown
from osd_edge.exporters.families import known_families, load_family

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
# What old BERT checkpoints call the two vectors of a LayerNorm.
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}
# Bytes. Pages that were read count as this process's memory for as long as their file is open: a
# larger one is opened for each tensor, which takes a millisecond.
_LARGE_FILE = 2**30
# What only quantised layers have: GPTQ's and AWQ's, then those of bitsandbytes.
_QUANTISED = (".qweight", ".qzeros", ".g_idx", ".SCB", ".absmax", ".quant_map")


def find_model(model: str) -> Path:
    """The folder of `model`: a folder, or a hub id, which is downloaded to the hub's cache.

    Raises ModelError `model.missing` where there is neither.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or model.count("/") > 1 or model.startswith((".", "/", "~")):
        raise ModelError("model.missing", f"{model} is not a folder with a Hugging Face model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(model, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            "model.missing",
            f"{model!r} is neither a folder nor a model that the hub gives "
            f"({type(error).__name__}): check the name, or download it and give its folder",
        ) from error


class Checkpoint:
    """Names, shapes and values of a checkpoint's tensors; values are read when asked for."""

    def __init__(self, model: str | Path) -> None:
        """Open a folder or hub id; raises ModelError where it is not a readable checkpoint."""
        self.folder = find_model(str(model))
        try:
            self.config: PretrainedConfig = AutoConfig.from_pretrained(self.folder)
        except Exception as error:  # whatever a config's own checks and types come to
            raise ModelError(
                "model.config", f"{self.folder} has no readable config.json: {_line(error)}"
            ) from error
        quantised = getattr(self.config, "quantization_config", None)
        if quantised:
            known = quantised if isinstance(quantised, dict) else vars(quantised)
            method = known.get("quant_method", "a method of its own")
            raise self._is_quantised(f"quantised by {shown(str(method), 40)}")
        self._files: dict[Path, Any] = {}
        self._where: dict[str, tuple[Path, str]] = {}
        for path in self._weight_files():
            for key in _open(path).keys():  # noqa: SIM118  (safe_open is not a mapping)
                if any(end in key for end in _QUANTISED):
                    raise self._is_quantised(f"tensor {shown(key)} is of a quantised layer")
                self._where[_rename(key)] = (path, key)
        prefix = f"{self.prefix}."
        prefixed = [name for name in self._where if name.startswith(prefix)]
        self._backbone = {name.removeprefix(prefix): name for name in prefixed or self._where}
        self._transposed = _transposed(self.config, self._backbone)

    def backbone_names(self) -> list[str]:
        """Names of the tensors below the backbone, without the model class's prefix."""
        return sorted(self._backbone)

    def names(self) -> list[str]:
        """Full names of all tensors."""
        return sorted(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of tensor `name` (a backbone name or a full one), without reading it."""
        path, key = self._find(name)
        return tuple(self._file(path).get_slice(key).get_shape())

    def stored(self, name: str) -> torch.Tensor:
        """Tensor `name` as stored, in its own dtype."""
        path, key = self._find(name)
        tensor: torch.Tensor = self._file(path).get_tensor(key)
        return tensor

    def __contains__(self, name: str) -> bool:
        return name in self._backbone or name in self._where

    def float32(self, name: str) -> torch.Tensor:
        """Tensor `name` as float32, the weight of a linear layer as [n, d] however it is stored.

        Raises ModelError `model.not-finite` on NaN or infinity.
        """
        tensor = self.values(name)
        # NaN and infinity both come through the extremes, in one fast pass.
        if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
            raise ModelError(
                "model.not-finite",
                f"{self.folder}: tensor {name} holds NaN or infinity; it cannot be compressed",
            )
        return tensor

    @property
    def prefix(self) -> str:
        """What a task's model class puts before the names of the backbone, without the dot."""
        return base_prefix(self.config)

    def is_transposed(self, name: str) -> bool:
        """Whether `name` is the weight of a linear layer that is stored as [d, n]."""
        return self._backbone.get(name, name) in self._transposed

    def values(self, name: str) -> torch.Tensor:
        """The same, of a tensor whose values were checked before."""
        stored = self.stored(name)
        if not stored.is_floating_point():
            raise self._is_quantised(f"tensor {name} holds {stored.dtype}")
        tensor = stored.float()
        return tensor.T.contiguous() if self.is_transposed(name) else tensor

    def __getstate__(self) -> dict[str, Any]:
        """What another process opens the checkpoint from: all but its open files."""
        return self.__dict__ | {"_files": {}}

    def _is_quantised(self, how: str) -> ModelError:
        return ModelError(
            "model.quantised",
            f"{self.folder}: {how}; a delta between rounded weights is mostly rounding: give the "
            "original ones",
        )

    def _find(self, name: str) -> tuple[Path, str]:
        full = self._backbone.get(name, name)
        if full not in self._where:
            raise ModelError("model.tensor", f"{self.folder} has no tensor {name}")
        return self._where[full]

    def _file(self, path: Path) -> Any:
        if path not in self._files:
            file = _open(path)
            if path.stat().st_size >= _LARGE_FILE:
                return file
            self._files[path] = file
        return self._files[path]

    def _weight_files(self) -> Iterator[Path]:
        index = self.folder / _INDEX
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise ModelError("model.weights", f"{index} is malformed: {error}") from error
            yield from (self.folder / name for name in names)
        elif (self.folder / _SINGLE).is_file():
            yield self.folder / _SINGLE
        else:
            raise ModelError(
                "model.weights",
                f"{self.folder} has no {_SINGLE}: save the model with "
                "save_pretrained(..., safe_serialization=True)",
            )


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, struct.error) as error:
        raise ModelError("model.weights", f"cannot read {path}: {_line(error)}") from error


def _rename(key: str) -> str:
    for old, new in _RENAMED.items():
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def _transposed(config: PretrainedConfig, backbone: Mapping[str, str]) -> frozenset[str]:
    """Full names of linear layers' weights that are stored as [d, n]."""
    if config.model_type not in known_families():
        return frozenset()
    globs = [f"{glob}.weight" for glob in load_family(config.model_type).transposed]
    return frozenset(
        full for name, full in backbone.items() if any(fnmatch.fnmatch(name, g) for g in globs)
    )


def base_prefix(config: PretrainedConfig) -> str:
    """What a task's model class puts before the names of the backbone, without the dot."""
    from transformers import AutoModel

    return str(AutoModel._model_mapping[type(config)].base_model_prefix)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
