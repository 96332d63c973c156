"""A PEFT adapter on disk, as the weight differences that it stands for.

LoRA: ΔW = s B A with s = α / r, or α / √r where it is rank-stabilised; DoRA: the weight it makes
less the base's, row by row m (W + s B A) / ‖W + s B A‖ − W. The files are read as they are, so
that the peft package is not needed; every tensor and every setting is understood or refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from osd_edge.errors import ModelError, shown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PARTS = ("lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector")
_EMBEDDING_PARTS = ("lora_embedding_A", "lora_embedding_B")
# Settings under which the adapter is something else than a difference from the base's weights.
_OTHER = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
)
# Starts from which the base's own weights are changed before training.
_MOVED_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter's tensors by module.

    `low_rank` maps a module's path in the task model to its tensors by part; `saved` are whole
    tensors that replace the base's (`modules_to_save`, biases), by name. `task_type` is PEFT's.
    """

    folder: Path
    task_type: str | None
    alpha: float
    alpha_pattern: Mapping[str, float]
    stabilised: bool
    low_rank: Mapping[str, Mapping[str, torch.Tensor]]
    saved: Mapping[str, torch.Tensor]
    size: int = field(default=0)

    def scaling(self, module: str, rank: int) -> float:
        """s in ΔW = s B A for one module."""
        alpha = self.alpha
        for pattern, value in self.alpha_pattern.items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = value
                break
        return alpha / (rank**0.5 if self.stabilised else rank)

    def delta(self, module: str, weight: torch.Tensor) -> torch.Tensor:
        """ΔW of the layer `module`, whose base weight is `weight` `[n, d]`.

        For an embedding `[tokens, width]` likewise. Raises ModelError `model.adapter` where the
        shapes do not fit.
        """
        parts = self.low_rank[module]
        embedded = "lora_embedding_A" in parts
        a, b = (parts[name] for name in (_EMBEDDING_PARTS if embedded else _PARTS[:2]))
        fit = a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1]
        product: torch.Tensor = b.float() @ a.float() if fit else b
        product = product.T if embedded else product
        if product.shape != weight.shape:
            raise ModelError(
                "model.adapter",
                f"{self.folder}: the factors of {module} make {list(product.shape)}, the base "
                f"has {list(weight.shape)}",
            )
        delta: torch.Tensor = self.scaling(module, a.shape[0]) * product
        magnitude = parts.get("lora_magnitude_vector")
        if magnitude is None:
            return delta
        moved = weight + delta
        stretch: torch.Tensor = magnitude.float().reshape(-1) / torch.linalg.norm(moved, dim=1)
        return stretch[:, None] * moved - weight


def read_adapter(folder: Path) -> PeftAdapter:
    """The adapter in `folder`.

    Raises ModelError: `model.adapter` where it is no readable adapter, `model.adapter-method`
    where it is not a difference from the base's weights.
    """
    config = _config(folder)
    method = str(config.get("peft_type"))
    if method != "LORA":
        raise ModelError(
            "model.adapter-method",
            f"{folder} is a {shown(method, 40)} adapter: only LoRA and DoRA are differences "
            "from the base's weights that a bundle can hold",
        )
    other = [name for name in _OTHER if config.get(name)]
    start = str(config.get("init_lora_weights", "")).lower()
    if other:
        raise ModelError(
            "model.adapter-method",
            f"{folder} uses {other[0]}: it is more than a difference from the base's weights",
        )
    if start.startswith(_MOVED_BASE):
        raise ModelError(
            "model.adapter-method",
            f"{folder} started by {start}, which changes the base itself: save it again with "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...)",
        )
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(
            "model.adapter",
            f"{folder} has no {WEIGHTS}: save the adapter with safe_serialization=True",
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError("model.adapter", f"cannot read {path}: {shown(str(error))}") from error
    low_rank, saved = _sorted(folder, tensors)
    if not low_rank and not saved:
        raise ModelError("model.adapter", f"{path} holds no tensors")
    try:
        return PeftAdapter(
            folder,
            config.get("task_type"),
            float(config["lora_alpha"]),
            {
                re.compile(str(k)).pattern: float(v)
                for k, v in (config.get("alpha_pattern") or {}).items()
            },
            bool(config.get("use_rslora")),
            low_rank,
            saved,
            path.stat().st_size,
        )
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise ModelError("model.adapter", f"{folder / CONFIG} is malformed: {error!r}") from error


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(
            "model.adapter", f"{folder} is no PEFT adapter: cannot read {CONFIG}"
        ) from error
    except ValueError as error:
        raise ModelError("model.adapter", f"{path} is not JSON") from error
    if not isinstance(config, dict):
        raise ModelError("model.adapter", f"{path} is malformed")
    return config


def _sorted(
    folder: Path, tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Low-rank parts by module, and whole tensors by name."""
    low_rank: dict[str, dict[str, torch.Tensor]] = {}
    saved = {}
    for key, tensor in tensors.items():
        name = key.removeprefix("base_model.model.").removesuffix(".default")
        name = name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
        part = next((p for p in (*_PARTS, *_EMBEDDING_PARTS) if name.endswith(f".{p}")), None)
        if part is not None:
            low_rank.setdefault(name.removesuffix(f".{part}"), {})[part] = tensor
            continue
        name = re.sub(r"\.modules_to_save(\.default)?\.", ".", name).replace(".base_layer.", ".")
        if "lora_" in name or "adapter" in name:
            raise ModelError(
                "model.adapter-method", f"{folder} holds {shown(key)}, which is not known"
            )
        if ".original_module." not in name:
            saved[name] = tensor
    for module, parts in low_rank.items():
        embedded = "lora_embedding_A" in parts or "lora_embedding_B" in parts
        needed = set(_EMBEDDING_PARTS if embedded else _PARTS[:2])
        if not needed <= set(parts) or (embedded and "lora_magnitude_vector" in parts):
            raise ModelError(
                "model.adapter", f"{folder}: {module} has {', '.join(sorted(parts))} alone"
            )
    return low_rank, saved
