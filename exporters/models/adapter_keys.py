"""The names of an adapter's tensors, however PEFT, torch and what wrapped the model write them.

PEFT saves `base_model.model.PATH.lora_A.weight`. A state that was saved by other means may still
have the adapter's name in it (`lora_A.default.weight`), the wrappers of torch.compile, of parallel
training or of checkpointing, PEFT's own prefix twice, or none at all.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.checkpoint import BUFFERS, FLOATS, is_quantised
from osd_edge.exporters.models.tensor_names import PARALLEL, without_wrappers

LINEAR_PARTS = ("lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector")
EMBEDDING_PARTS = ("lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")
LoraParts = dict[str, torch.Tensor]
_PREFIXES = re.compile(rf"(?:base_model\.model\.|{re.escape(PARALLEL)})*")  # before all else
# A part in each way of writing it: the module, the part, perhaps the adapter's name, what ends it.
_FORMS = tuple(
    re.compile(rf"(?P<module>.+)\.(?P<part>{part})")
    for part in (
        r"lora_[AB](?:\.(?P<adapter>[^.]+))?\.(?P<end>weight|bias)",
        r"lora_embedding_[AB](?:\.(?P<adapter>[^.]+))?",
        r"lora_magnitude_vector(?:\.(?P<adapter>(?!weight$)[^.]+))?(?:\.weight)?",
    )
)
_COPY = ".modules_to_save"  # of a module that was trained as a whole


def sorted_parts(
    folder: Path, tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, LoraParts], dict[str, torch.Tensor]]:
    """Low-rank parts by module and part, and whole tensors by name.

    Raises ModelError: `model.quantised` for values that are no floats, `model.adapter` for parts
    without each other, for empty ones, and for those of several adapters; `model.adapter-method`
    for tensors that are not known.
    """
    low_rank: dict[str, LoraParts] = {}
    whole: dict[str, torch.Tensor] = {}
    adapters: dict[str, str] = {}
    for key, tensor in tensors.items():
        if tensor.dtype not in FLOATS and not key.endswith(BUFFERS):
            raise is_quantised(folder, f"tensor {shown(key)} holds {tensor.dtype}")
        name = _unwrapped(key)
        found = next((match for form in _FORMS if (match := form.fullmatch(name))), None)
        if found is None:
            whole[name] = tensor
            continue
        if not tensor.numel():
            raise ModelError(
                Code.MODEL_ADAPTER,
                f"{folder}: {shown(key)} is empty, as DeepSpeed's ZeRO-3 leaves it where the "
                "weights are not gathered: save the adapter again",
            )
        fields = found.groupdict()
        part = fields["part"].split(".")[0] + (f".{fields['end']}" if fields.get("end") else "")
        if fields["adapter"]:
            adapters[fields["adapter"]] = key
        _put_once(folder, low_rank.setdefault(fields["module"], {}), part, tensor)
    if len(adapters) > 1:
        raise ModelError(
            Code.MODEL_ADAPTER,
            f"{folder} holds several adapters, {shown(', '.join(sorted(adapters)), 80)}: save one, "
            "save_pretrained(..., selected_adapters=[NAME])",
        )
    saved: dict[str, torch.Tensor] = {}
    # Biases may be there as the model's own and as the trained copy's, which is what counts.
    for name, tensor in sorted(whole.items(), key=lambda item: f"{_COPY}." in item[0]):
        plain = _plain(name, adapters)
        if "lora_" in plain or "adapter" in plain:
            raise ModelError(
                Code.MODEL_ADAPTER_METHOD, f"{folder} holds {shown(name)}, which is not known"
            )
        if f"{_COPY}." in name:
            saved[plain] = tensor
        elif ".original_module." not in plain:
            _put_once(folder, saved, plain, tensor)
    for module, parts in low_rank.items():
        _check_parts(folder, module, parts)
    return low_rank, saved


def is_embedding(parts: Mapping[str, torch.Tensor]) -> bool:
    """Says whether a module's low-rank parts are those of a table of embeddings."""
    return any(name.startswith("lora_embedding") for name in parts)


def _unwrapped(key: str) -> str:
    """The name without the wrappers of the model, and without PEFT's prefix."""
    return _PREFIXES.sub("", without_wrappers(key), count=1)


def _plain(name: str, adapters: Mapping[str, str]) -> str:
    """The name in the task's model of a whole tensor, which may be of a module's trained copy."""
    before, copy, after = name.partition(f"{_COPY}.")
    if copy:
        first, _, rest = after.partition(".")
        after = rest if rest and (first in adapters or first == "default") else after
        name = f"{before}.{after}"
    return name.replace(".base_layer.", ".")


def _put_once(folder: Path, tensors: dict[str, torch.Tensor], name: str, one: torch.Tensor) -> None:
    if name in tensors and not torch.equal(tensors[name], one):
        raise ModelError(
            Code.MODEL_ADAPTER, f"{folder} has two values of {shown(name)}, by two names"
        )
    tensors[name] = one


def _check_parts(folder: Path, module: str, parts: LoraParts) -> None:
    """Refuse (`model.adapter`) one factor without the other."""
    known = EMBEDDING_PARTS if is_embedding(parts) else LINEAR_PARTS
    if not set(known[:2]) <= set(parts) <= set(known):
        raise ModelError(
            Code.MODEL_ADAPTER, f"{folder}: {module} has {', '.join(sorted(parts))} alone"
        )
