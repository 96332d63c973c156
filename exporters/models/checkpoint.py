"""A Hugging Face checkpoint on disk, read one tensor at a time.

Weights stay in memory-mapped safetensors files, single or sharded, so that comparing two models
needs memory for one layer.
"""

import fnmatch
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.families import (
    HeadShape,
    known_families,
    load_family,
    unknown_family,
)
from osd_edge.exporters.models.folders_below import given_instead
from osd_edge.exporters.models.low_rank import LowRank
from osd_edge.exporters.models.neutral_settings import make_neutral
from osd_edge.exporters.models.other_settings import take_other_settings
from osd_edge.exporters.models.sentence_folder import transformer_folder
from osd_edge.exporters.models.tensor_names import plain_names
from osd_edge.exporters.models.unreadable import why_unreadable
from osd_edge.exporters.models.weight_files import weight_files
from osd_edge.formats.package.manifest import MANIFEST

_CONFIG = "config.json"
# Folders without a config.json that people give by mistake, by a file in them.
_OTHERS = {
    MANIFEST: "a base package: give the Hugging Face folder that it was made from",
    "adapter_config.json": "a PEFT adapter: give it with --adapter",
}
# Types of weights that are as they were trained. Rounded ones come as integers and as 8-bit floats.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Tensors that old checkpoints carry, but that are no weights.
BUFFERS = ("position_ids", "token_type_ids")
# Bytes. Pages that were read count as this process's memory for as long as their file is open: the
# files of a larger checkpoint are opened for each tensor, which takes a millisecond.
_LARGE = 2**30
_LARGEST = 1e18
# Ends of names that only quantised layers have: GPTQ's and AWQ's, then bitsandbytes'.
_QUANTISED = (".qweight", ".qzeros", ".g_idx", ".SCB", ".absmax", ".quant_map")


def find_model(model: str) -> Path:
    """The folder of `model`: a folder, or a hub id, which is downloaded to the hub's cache.

    Raises ModelError `model.missing` where there is neither.
    """
    folder = Path(model)
    try:
        is_folder, is_there = folder.is_dir(), folder.exists()
    except OSError as error:  # no permission on the way to it, or a name that is too long
        raise ModelError(
            Code.MODEL_MISSING, f"cannot open {shown(model, 200)}: {error.strerror}"
        ) from error
    if is_folder and os.access(folder, os.R_OK | os.X_OK):
        return folder
    if is_folder:
        raise ModelError(Code.MODEL_MISSING, f"cannot read the folder {model}: Permission denied")
    if is_there or model.count("/") > 1 or model.startswith((".", "/", "~")):
        raise ModelError(Code.MODEL_MISSING, f"{model} is not a folder with a Hugging Face model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken", "*.jinja"]
    wanted.append("model_head.pkl")
    try:
        return Path(snapshot_download(model, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            Code.MODEL_MISSING,
            f"{model!r} is neither a folder nor a model that the hub gives "
            f"({type(error).__name__}): check the name, or download it and give its folder",
        ) from error


class Checkpoint:
    """Names, shapes and values of a checkpoint's tensors; values are read when asked for.

    `home` is the model's folder, and `folder` the one with its weights: another one in old models
    of sentence-transformers alone.
    """

    def __init__(self, model: str | Path) -> None:
        """Open a folder or hub id; raises ModelError where it is not a readable checkpoint."""
        self.home = find_model(str(model))
        self.folder = transformer_folder(self.home)
        self.config: PretrainedConfig = _read_config(self.folder)
        self._files: dict[Path, Any] = {}
        self._where: dict[str, tuple[Path, str]] = {}
        files = weight_files(self.folder, getattr(self.config, "transformers_weights", None))
        stored = {key: path for path in files for key in _open(path).keys()}  # noqa: SIM118  (no mapping)
        for key, name in plain_names(stored).items():
            if any(end in key for end in _QUANTISED):
                how = f"tensor {shown(key)} is of a quantised layer"
                raise is_quantised(self.folder, how)
            if name in self._where:
                raise ModelError(
                    Code.MODEL_WEIGHTS,
                    f"{self.folder} has {shown(name)} twice, as {shown(self._where[name][1])} and "
                    f"as {shown(key)}: which one the model has cannot be told",
                )
            self._where[name] = (stored[key], key)
        self._is_large = sum(path.stat().st_size for path in files) >= _LARGE
        named = {without_prefix(self.config, name): name for name in self._where}
        self._backbone = {short: name for short, name in named.items() if short != name} or named
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
        try:
            tensor: torch.Tensor = self._file(path).get_tensor(key)
        except SafetensorError as error:  # such as a type that torch does not have
            why = why_unreadable(path, error)
            raise ModelError(
                Code.MODEL_WEIGHTS, f"cannot read {shown(name)} in {shown(str(path), 200)}: {why}"
            ) from error
        return tensor

    def __contains__(self, name: str) -> bool:
        return name in self._backbone or name in self._where

    def float32(self, name: str) -> torch.Tensor:
        """Tensor `name` as float32, the weight of a linear layer as [n, d] however it is stored.

        Raises ModelError `model.not-finite` on NaN, infinity, or what has no square in float32.
        """
        tensor = self.values(name)
        # NaN too comes through the extremes, in one fast pass, and is no number up to another.
        if tensor.numel() and not (torch.stack(torch.aminmax(tensor)).abs() <= _LARGEST).all():
            raise ModelError(
                Code.MODEL_NOT_FINITE,
                f"{self.folder}: tensor {name} holds NaN, infinity or values beyond "
                f"{_LARGEST:.0e}; it cannot be compressed",
            )
        return tensor

    @property
    def prefix(self) -> str:
        """The prefix of the backbone's names in a task's model class, without the dot."""
        return base_prefix(self.config)

    @property
    def own_head(self) -> HeadShape | None:
        """The head of a task that is not its family's; None where it is."""
        return None

    def is_transposed(self, name: str) -> bool:
        """Says whether `name` is the weight of a linear layer that is stored as [d, n]."""
        return self._backbone.get(name, name) in self._transposed

    def is_base_own(self, name: str) -> bool:
        """Says whether tensor `name` is the base's own, where that is known without reading it."""
        return False

    def low_rank(self, name: str) -> LowRank | None:
        """The product that tensor `name` differs from the base's by, where it is known as one."""
        return None

    def values(self, name: str) -> torch.Tensor:
        """Reads tensor `name` as float32, without the check of `float32` for finite values."""
        stored = self.stored(name)
        if stored.dtype not in FLOATS:
            raise is_quantised(self.folder, f"tensor {shown(name)} holds {stored.dtype}")
        tensor = stored.float()
        return tensor.T.contiguous() if self.is_transposed(name) else tensor

    def __getstate__(self) -> dict[str, Any]:
        """Gives another process all that it opens the checkpoint from, but no open files."""
        return self.__dict__ | {"_files": {}}

    def _find(self, name: str) -> tuple[Path, str]:
        full = self._backbone.get(name, name)
        if full not in self._where:
            raise ModelError(Code.MODEL_TENSOR, f"{self.folder} has no tensor {name}")
        return self._where[full]

    def _file(self, path: Path) -> Any:
        if path not in self._files:
            file = _open(path)
            if self._is_large:
                return file
            self._files[path] = file
        return self._files[path]


def is_quantised(folder: Path, how: str) -> ModelError:
    """The refusal of rounded weights; `how` says by what they were known."""
    return ModelError(
        Code.MODEL_QUANTISED,
        f"{folder}: {how}; a delta between rounded weights is mostly rounding: give the original "
        "ones",
    )


def _read_config(folder: Path) -> PretrainedConfig:
    """The configuration in `folder`, whose own code is never run.

    Raises ModelError `model.config`, `model.quantised`, `model.family` where it is of a type that
    transformers does not know, or of its own code's.
    """
    try:
        fields = json.loads((folder / _CONFIG).read_text("utf-8"))
    except FileNotFoundError as error:
        found = next((what for name, what in _OTHERS.items() if (folder / name).is_file()), None)
        below = given_instead(folder, _CONFIG)
        none = f"holds no Hugging Face model: there is no config.json{below}"
        what = f"is {found}" if found else none
        raise ModelError(Code.MODEL_CONFIG, f"{folder} {what}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable_config(folder, error) from error
    if not isinstance(fields, dict):
        raise ModelError(Code.MODEL_CONFIG, f"{folder / _CONFIG}: expected a JSON object")
    quantised = fields.get("quantization_config")
    if quantised:
        named = quantised.get("quant_method") if isinstance(quantised, dict) else None
        method = named or "a method of its own"
        raise is_quantised(folder, f"quantised by {shown(str(method), 40)}")
    kind = fields.get("model_type")
    if fields.get("auto_map") and kind not in known_families():
        raise ModelError(
            Code.MODEL_FAMILY,
            f"{folder} is of type {shown(repr(kind), 40)} and brings code of its own (auto_map), "
            "which is never run; docs/families.md lists the types that are known",
        )
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # whatever a config's own checks and types come to
        if kind is None:
            raise ModelError(
                Code.MODEL_CONFIG,
                f"{folder / _CONFIG} has no model_type: expected one, such as bert",
            ) from error
        if kind not in known_families():
            raise unknown_family(str(kind)) from error
        raise _unreadable_config(folder, error) from error
    make_neutral(folder, config)
    if kind in known_families():
        take_other_settings(folder, config, fields, load_family(kind))
    return config


def _unreadable_config(folder: Path, error: Exception) -> ModelError:
    why = why_unreadable(folder / _CONFIG, error)
    return ModelError(Code.MODEL_CONFIG, f"{folder} has no readable config.json: {why}")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        why = why_unreadable(path, error)
        raise ModelError(
            Code.MODEL_WEIGHTS, f"cannot read {shown(str(path), 200)}: {why}"
        ) from error


def _transposed(config: PretrainedConfig, backbone: Mapping[str, str]) -> frozenset[str]:
    """Full names of linear layers' weights that are stored as [d, n]."""
    if config.model_type not in known_families():
        return frozenset()
    globs = [f"{glob}.weight" for glob in load_family(config.model_type).transposed]
    return frozenset(
        full for name, full in backbone.items() if any(fnmatch.fnmatch(name, g) for g in globs)
    )


def base_prefix(config: PretrainedConfig) -> str:
    """The prefix of the backbone's names in a task's model class, without the dot."""
    return _prefixes(config)[0]


def without_prefix(config: PretrainedConfig, name: str) -> str:
    """The name of a tensor without the prefix that a task's model class gives its backbone's."""
    for prefix in _prefixes(config):
        if name.startswith(f"{prefix}."):
            return name[len(prefix) + 1 :]
    return name


def _prefixes(config: PretrainedConfig) -> tuple[str, ...]:
    """The prefixes that the task classes of a model's family have, the usual one first."""
    known = config.model_type in known_families()
    own = load_family(config.model_type).prefixes if known else ()
    if own:
        return own
    from transformers import AutoModel

    return (str(AutoModel._model_mapping[type(config)].base_model_prefix),)
