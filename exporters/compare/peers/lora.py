"""lora: a LoRA adapter extracted from the delta by SVD, as mergekit and PEFT users make it.

The same rank r for every linear layer, A = √S Vᵀ `[r, d]`, B = U √S `[n, r]`, scaling
lora_alpha / r = 1, fp16, and the head, where the task has one, whole in fp16 under
`modules_to_save`. The two files are those of a PEFT adapter (LoRA: arXiv 2106.09685). Where the
fine-tuned model is a LoRA itself, this is that LoRA with its ranks cut.
"""

import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save

from osd_edge.exporters.compare.peers import flat
from osd_edge.exporters.compare.peers.fitting import largest_within
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.factorize import Factors
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.adapter_files import ADAPTER_WEIGHTS, CONFIG
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.head_plan import head_modules

MAX_LORA_RANK = 32
_ROOT = "base_model.model."


class LoraExtraction:
    """Truncated SVD in the files of a PEFT adapter."""

    name = "lora"
    sized = True

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The adapter of the largest rank within `budget`."""
        assert budget is not None

        def build(rank: int) -> tuple[Compressed, int]:
            files = adapter(source, source.factors, source.head(), rank)
            bits = sum(16 * rank * (layer.n + layer.d) for layer in source.layers)
            return Compressed(files, {"rank": rank}), bits

        columns = max(len(f.singular) for f in source.factors.values())  # a LoRA has r and no more
        return largest_within(budget, source.layers, min(MAX_LORA_RANK, columns), build)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """B A of each layer, and the head."""
        tensors = load(files[ADAPTER_WEIGHTS])
        config = json.loads(files[CONFIG])
        scaling = config["lora_alpha"] / config["r"]
        deltas, head = {}, {}
        for layer in backbone.layers:
            keys = [key for key in tensors if key.endswith(f"{layer.name}.lora_A.weight")]
            for key in keys:
                a = tensors.pop(key).float()
                b = tensors.pop(key.replace("lora_A", "lora_B")).float()
                deltas[layer.name] = scaling * (b @ a)
        for module in head_modules(backbone) if config["modules_to_save"] else ():
            for key in [key for key in tensors if f".{module.path}." in key]:
                head[f"{module.path}.{key.rsplit('.', 1)[1]}"] = tensors[key].float()
        return Restored(deltas, head)


def adapter(
    source: Source,
    factors: Mapping[str, Factors],
    head: Mapping[str, torch.Tensor],
    rank: int,
) -> dict[str, bytes]:
    """The two files of a PEFT adapter of rank `rank`; a layer with fewer columns has those."""
    assert source.model is not None
    prefix = f"{_ROOT}{source.model.prefix}."
    tensors = {}
    for name, f in factors.items():
        tensors[f"{prefix}{name}.lora_A.weight"] = _fp16(f.v[:rank])
        tensors[f"{prefix}{name}.lora_B.weight"] = _fp16(f.u[:rank].T)
    head_plan = source.models.head
    saved = sorted({module.path for module in head_plan.modules})
    own = {name: len(f.singular) for name, f in factors.items() if len(f.singular) < rank}
    patterns = {"rank_pattern": own, "alpha_pattern": own} if own else {}
    for name, value in head.items():
        tensors[f"{_ROOT}{name}"] = _fp16(value)
    config = {
        "peft_type": "LORA",
        "task_type": KINDS[head_plan.kind].peft_type,
        "base_model_name_or_path": source.models.backbone.checkpoint.folder.name,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in factors}),
        "modules_to_save": saved or None,
        "inference_mode": True,
    } | patterns
    return {ADAPTER_WEIGHTS: save(tensors), CONFIG: json.dumps(config, indent=2).encode()}


def _fp16(tensor: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(flat.fp16(tensor)).contiguous()
