"""A task as a PEFT folder, for people who stay in Python with the original base.

The factors become a LoRA of scaling 1 with each site's own rank, the head `modules_to_save`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from transformers import CONFIG_MAPPING

from osd_edge.data.arguments import as_model, as_path
from osd_edge.data.files import staged_folder
from osd_edge.errors import Code, InputError
from osd_edge.exporters.adapters.onnx_adapter import WrittenAdapter, open_task
from osd_edge.exporters.kinds import KINDS, SEQUENCE
from osd_edge.exporters.models.adapter_files import ADAPTER_WEIGHTS, CONFIG
from osd_edge.exporters.models.checkpoint import base_prefix
from osd_edge.exporters.models.families import Family, HeadModule, load_family
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.heads import Floats

TASK = "osd_edge.json"


def export_peft(
    bundle: str | Path, base: str | Path, out: str | Path, model: str | Path | None = None
) -> WrittenAdapter:
    """Write the task in the file `bundle`, made for base package `base`, to the folder `out`.

    `model` is where PEFT finds the base, if not told by its user. Labels, kind and text settings,
    for which PEFT has no place, are in osd_edge.json. Raises BundleError, BaseError, OutputError;
    InputError `input.adapter` for a head that is not the one of the base's family, or for changed
    biases and norms, `input.path` for a path that is none.
    """
    out, named = as_path(out, "out"), None if model is None else str(as_model(model, "model"))
    task, manifest = open_task(as_path(bundle, "bundle"), as_path(base, "base"))
    if task.vectors:
        raise InputError(
            Code.INPUT_ADAPTER,
            f"task {task.task!r} changes {len(task.vectors)} biases and norms, for which a LoRA "
            "has no place: use --to onnx, or export the task without --vectors",
        )
    if not task.sites:
        raise InputError(
            Code.INPUT_ADAPTER,
            "PEFT has no place for a task without a delta: its model's own head pools otherwise. "
            "Use --to onnx",
        )
    family = load_family(manifest.family)
    if task.head.layers and not _is_familys(task, family):
        raise InputError(
            Code.INPUT_ADAPTER,
            f"the task's head (pooling {task.head.pooling}, {len(task.head.layers)} layers) is not "
            f"that of a {manifest.family} classifier in transformers, as SetFit's is not, so PEFT "
            "has no place for it. Use --to onnx",
        )
    prefix = base_prefix(CONFIG_MAPPING[manifest.family]())
    inside = "" if KINDS[task.head.kind].format.vector else f"{prefix}."
    tensors: dict[str, Floats] = {}
    ranks = {}
    for delta in task.sites:
        name = inside + manifest.sites[delta.site].name
        u, v = delta.decode()
        tensors[f"base_model.model.{name}.lora_A.weight"] = np.ascontiguousarray(v)
        tensors[f"base_model.model.{name}.lora_B.weight"] = np.ascontiguousarray(u.T)
        ranks[name] = delta.k
    saved = _head(task, family, inside, tensors)
    config = _config(task, family, ranks, saved, named)
    with staged_folder(out) as folder:
        (folder / ADAPTER_WEIGHTS).write_bytes(save(tensors, {"format": "pt"}))
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        (folder / TASK).write_text(json.dumps(_described(task), indent=2) + "\n", "utf-8")
    paths = tuple(out / name for name in (ADAPTER_WEIGHTS, CONFIG, TASK))
    return WrittenAdapter(paths, tuple(p.stat().st_size for p in paths), len(task.sites))


def _is_familys(task: Bundle, family: Family) -> bool:
    """Says whether the task's head pools and has layers as its class in transformers does."""
    shape = family.heads[KINDS[task.head.kind].head or SEQUENCE]
    pooling, count = task.head.pooling, len(task.head.layers)
    if shape.pooling == "pooler" and pooling == "cls":  # the task's own pooler comes first
        return count == len(shape.layers) + 1
    if shape.pooling == "last" and task.head.decode().layers[-1].bias is not None:
        return False  # a decoder's own `score` has none
    named = shape.pooling.startswith("@")  # by the configuration, so that any may be right
    return count == len(shape.layers) and (named or pooling == shape.pooling)


def _head(task: Bundle, family: Family, inside: str, tensors: dict[str, Floats]) -> list[str]:
    """Put the head's matrices in `tensors`; return the modules that hold them."""
    head = task.head.decode()
    modules: tuple[HeadModule, ...] = ()
    if head.layers:
        modules = family.heads[KINDS[head.kind].head or SEQUENCE].layers
        if len(modules) < len(head.layers):  # the base has no pooler, so the task has its own
            assert family.pooler is not None
            modules = (family.pooler, *modules)
    saved: list[str] = []
    for module, layer in zip(modules, head.layers, strict=True):
        path = module.path
        if family.pooler is not None and path == family.pooler.path:
            path = inside + path
        tensors[f"base_model.model.{path}.weight"] = np.ascontiguousarray(layer.dense())
        if layer.bias is not None:
            tensors[f"base_model.model.{path}.bias"] = np.ascontiguousarray(layer.bias)
        if module.norm is not None:  # its numbers are in the layer after it
            tensors[f"base_model.model.{module.norm}.weight"] = np.ones(layer.n, np.float32)
        whole = path.removeprefix(inside).split(".")[0]
        saved += [] if whole in saved else [whole]
    return saved


def _config(
    task: Bundle, family: Family, ranks: dict[str, int], saved: list[str], model: str | None
) -> dict[str, Any]:
    first = next(iter(ranks.values()), 1)
    return {
        "peft_type": "LORA",
        "task_type": KINDS[task.head.kind].peft_type,
        "base_model_name_or_path": model,
        "inference_mode": True,
        "r": first,
        "lora_alpha": first,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": bool(family.transposed),
        "target_modules": sorted(ranks),
        "modules_to_save": saved or None,
    }


def _described(task: Bundle) -> dict[str, Any]:
    described = {
        "task": task.task,
        "kind": task.head.kind,
        "labels": list(task.labels),
        "pooling": task.head.pooling,
        "base": task.base,
    }
    return described if task.text is None else described | {"text": task.text.described()}
