"""A PEFT adapter on disk, as the weight differences that it stands for.

LoRA: ΔW = s B A with s = α / r, or α / √r where it is rank-stabilised; DoRA: the weight it makes
less the base's, row by row m (W + s B A) / ‖W + s B A‖ − W. The files are read as they are, so
that the peft package is not needed; every tensor and every setting is understood or refused.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex
import torch

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.adapter_files import (
    ADAPTER_WEIGHTS,
    CONFIG,
    MERGE_FILES,
    adapter_tensors,
    no_config,
)
from osd_edge.exporters.models.adapter_keys import (
    EMBEDDING_PARTS,
    LINEAR_PARTS,
    is_embedding,
    sorted_parts,
)
from osd_edge.exporters.models.low_rank import LowRank
from osd_edge.exporters.models.moved_bases import check_start
from osd_edge.exporters.models.unreadable import why_unreadable

# Settings under which the adapter is something else than a difference from the base's weights.
_OTHER = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
)
# Settings of differences that are kept in tensors of another form, and can be merged.
_MERGEABLE = ("target_parameters", "trainable_token_indices")
_MALFORMED = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    regex.error,
)
_LONGEST_NAME, _LONGEST_PATTERN = 256, 1000  # characters
_TIMED_OUT = "regex timed out"
_SECONDS = 5.0  # of matching all patterns: a short one may take years


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter's tensors by module.

    `low_rank` maps a module's path in the task model to its tensors by part; `saved` are whole
    tensors that replace the base's (`modules_to_save`, biases), by name. α is `alpha`, but for the
    modules that have their own in `own_alphas`. `task_type` is PEFT's,
    `base` what it calls its base.
    """

    folder: Path
    task_type: str | None
    alpha: float
    own_alphas: Mapping[str, float]
    stabilised: bool
    low_rank: Mapping[str, Mapping[str, torch.Tensor]]
    saved: Mapping[str, torch.Tensor]
    size: int = field(default=0)
    base: str | None = None

    @property
    def values(self) -> int:
        """The number of values in all tensors."""
        parts = (tensor for of_module in self.low_rank.values() for tensor in of_module.values())
        return sum(tensor.numel() for tensor in (*parts, *self.saved.values()))

    def scaling(self, module: str, rank: int) -> float:
        """s in ΔW = s B A for one module."""
        alpha = self.own_alphas.get(module, self.alpha)
        return alpha / (rank**0.5 if self.stabilised else rank)

    def product(self, module: str) -> LowRank | None:
        """ΔW of the linear layer `module` as s B times A; None where it is not just that."""
        a, b, embedded = self._factors(module)
        if embedded or "lora_magnitude_vector" in self.low_rank[module]:
            return None
        return LowRank(self.scaling(module, a.shape[0]) * b.float(), a.float())

    def delta(self, module: str, weight: torch.Tensor) -> torch.Tensor:
        """ΔW of the layer `module`, whose base weight is `weight` `[n, d]`.

        For an embedding `[tokens, width]` likewise. The shapes must fit: see `check`.
        """
        a, b, embedded = self._factors(module)
        product = b.float() @ a.float()
        delta: torch.Tensor = self.scaling(module, a.shape[0]) * (
            product.T if embedded else product
        )
        magnitude = self.low_rank[module].get("lora_magnitude_vector")
        if magnitude is None:
            return delta
        moved = weight + delta
        # Of a layer each output has a length, of a table of embeddings each feature.
        length = torch.linalg.norm(moved, dim=0 if embedded else 1)
        stretch: torch.Tensor = magnitude.float().reshape(-1) / length
        return (stretch if embedded else stretch[:, None]) * moved - weight

    def check(self, module: str, shape: tuple[int, ...]) -> None:
        """Refuse (`model.adapter`) tensors of `module` that fit no base weight of this shape."""
        a, b, embedded = self._factors(module)
        found = [list(a.shape), list(b.shape)]
        multiply = a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1] > 0
        made: tuple[int, ...] = (b.shape[0], a.shape[1]) if multiply else ()
        if (made[::-1] if embedded else made) != shape:
            raise ModelError(
                Code.MODEL_ADAPTER,
                f"{self.folder}: factors A and B of {module} have shapes {found[0]} and "
                f"{found[1]}; expected [r, d] and [n, r] for the base's {list(shape)}",
            )
        for part in ("lora_magnitude_vector", "lora_B.bias"):
            vector = self.low_rank[module].get(part)
            count = shape[1 if embedded else 0]
            if vector is not None and vector.numel() != count:
                raise ModelError(
                    Code.MODEL_ADAPTER,
                    f"{self.folder}: {part} of {module} has shape {list(vector.shape)}, expected "
                    f"[{count}]",
                )

    def _factors(self, module: str) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """A `[r, d]` and B `[n, r]`, and whether they are an embedding's."""
        parts = self.low_rank[module]
        embedded = is_embedding(parts)
        a, b = (parts[name] for name in (EMBEDDING_PARTS if embedded else LINEAR_PARTS)[:2])
        return a, b, embedded


def read_adapter(folder: Path) -> PeftAdapter:
    """The adapter in `folder`.

    Raises ModelError: `model.adapter` where it is no readable adapter, `model.adapter-method`
    where it is not a difference from the base's weights.
    """
    config = _config(folder)
    if "peft_type" not in config:
        raise ModelError(
            Code.MODEL_ADAPTER_METHOD,
            f"{folder / CONFIG} has no peft_type: expected an adapter of the library peft, found "
            "another one's, such as those of AdapterHub. Give --tuned a model that it is merged "
            "into, or train a LoRA with peft",
        )
    method = str(config.get("peft_type"))
    if method != "LORA":
        raise ModelError(
            Code.MODEL_ADAPTER_METHOD,
            f"{folder} is a {shown(method, 40)} adapter: only LoRA and DoRA are differences "
            "from the base's weights that a bundle can hold",
        )
    other = [name for name in _OTHER if config.get(name)]
    if other:
        raise ModelError(
            Code.MODEL_ADAPTER_METHOD,
            f"{folder} uses {other[0]}: it is more than a difference from the base's weights",
        )
    mergeable = [name for name in _MERGEABLE if config.get(name)]
    if mergeable:
        raise ModelError(
            Code.MODEL_ADAPTER_METHOD,
            f"{folder} uses {mergeable[0]}, which is not read: {MERGE_FILES}",
        )
    check_start(folder, str(config.get("init_lora_weights", "")))
    path = folder / ADAPTER_WEIGHTS
    low_rank, saved = sorted_parts(folder, adapter_tensors(folder))
    if not low_rank and not saved:
        raise ModelError(Code.MODEL_ADAPTER, f"{path} holds no tensors")
    long = next((name for name in low_rank if len(name) > _LONGEST_NAME), None)
    if long is not None:
        raise ModelError(
            Code.MODEL_ADAPTER,
            f"{path} names a module by {len(long)} characters, {shown(long, 40)}; expected at most "
            f"{_LONGEST_NAME}",
        )
    try:
        task = config.get("task_type")
        if not isinstance(task, str | None):
            raise TypeError(f"task_type is {shown(repr(task), 40)}")
        alpha = float(config["lora_alpha"])
        own = own_alphas(config.get("alpha_pattern") or {}, low_rank)
        if not all(math.isfinite(value) for value in (alpha, *own.values())):
            raise ValueError("an alpha is not finite")
        return PeftAdapter(
            folder,
            task,
            alpha,
            own,
            bool(config.get("use_rslora")),
            low_rank,
            saved,
            path.stat().st_size,
            _base_name(config),
        )
    except _MALFORMED as error:
        raise ModelError(
            Code.MODEL_ADAPTER, f"{folder / CONFIG} is malformed: {shown(repr(error), 200)}"
        ) from error


def _base_name(config: Mapping[str, Any]) -> str | None:
    """The adapter's own word on its base, a hub id or a folder."""
    name = config.get("base_model_name_or_path")
    return name if isinstance(name, str) and name.strip() else None


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise no_config(folder) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            Code.MODEL_ADAPTER, f"{path} is not JSON: {why_unreadable(path, error)}"
        ) from error
    if not isinstance(config, dict):
        raise ModelError(Code.MODEL_ADAPTER, f"{path} is malformed")
    return config


def own_alphas(patterns: Mapping[Any, Any], modules: Iterable[str]) -> dict[str, float]:
    r"""The α of each module that a key of `alpha_pattern` is for; the first one counts.

    A key is for a module that PEFT's own `(.*\.)?(key)$` matches.

    Raises ValueError for keys that take long to match, regex.error for malformed ones.
    """
    known = [(_compiled(str(key)), float(value)) for key, value in patterns.items()]
    end = time.monotonic() + _SECONDS
    found = {}
    for module in modules:
        for pattern, value in known:
            if _matches(pattern, module, end - time.monotonic()):
                found[module] = value
                break
    return found


def _compiled(pattern: str) -> Any:
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"a key of alpha_pattern has {len(pattern)} characters")
    return regex.compile(rf"(.*\.)?({pattern})$")


def _matches(pattern: Any, module: str, seconds: float) -> bool:
    try:
        return pattern.match(module, timeout=max(seconds, 1e-3)) is not None
    except TimeoutError as error:
        if error.args != (_TIMED_OUT,):
            raise  # the caller's own
        raise ValueError("the keys of alpha_pattern take too long to match") from error
