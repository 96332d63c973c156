"""Writes a task for programs without osd_edge: an `.onnx_adapter`, and the head beside it.

onnxruntime's own LoraAdapter and onnxruntime-genai's Adapters, in any of their languages, feed the
factors to the base package's graph; the head is a JSON file that says what to do and, where it has
layers, a safetensors file with the matrices. `docs/adapters.md` describes them.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from safetensors.numpy import save

from osd_edge.data.arguments import as_path
from osd_edge.data.files import check_outputs, check_unicode, write_files
from osd_edge.errors import Code, InputError
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.heads import Floats, Head
from osd_edge.formats.package.feeds import empty_feeds, factor_feeds
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.formats.package.manifest_reader import read_manifest

SUFFIX = ".onnx_adapter"
HEAD_FORMAT = 1
CUT_FORMAT = 2  # where texts are cut on the left or have a prompt, which programs before knew not
_FIRST_KEYS = {"max_length", "pad_id"}


@dataclass(frozen=True)
class WrittenAdapter:
    """The files of a written adapter and its head, with their sizes in bytes."""

    paths: tuple[Path, ...]
    sizes: tuple[int, ...]
    sites: int


def export_onnx_adapter(bundle: str | Path, base: str | Path, out: str | Path) -> WrittenAdapter:
    """Writes the task in the file `bundle` as `out`, for the graph of base package `base`.

    Beside NAME.onnx_adapter stands NAME.head.json and, where the task's head has layers,
    NAME.head.safetensors. Raises BundleError, BaseError, OutputError, TaskError `task.range`,
    InputError `input.adapter` for another file name, `input.path` for a path that is none.
    """
    bundle, base = as_path(bundle, "bundle"), as_path(base, "base")
    out = as_path(out, "out")
    if out.suffix != SUFFIX:
        raise InputError(Code.INPUT_ADAPTER, f"expected a file NAME{SUFFIX}, found {out}")
    check_unicode(out)
    task, manifest = open_task(bundle, base)
    stem = out.name.removesuffix(SUFFIX)
    description, tensors = (
        out.with_name(f"{stem}.head.json"),
        out.with_name(f"{stem}.head.safetensors"),
    )
    paths = (out, description, tensors) if task.head.layers else (out, description)
    written: dict[str, Path | None] = {path.name: path for path in paths}
    check_outputs(written, [bundle, base])
    head = task.head.decode()
    # Of every branch: an adapter that is set after another one takes its place whole.
    factors = empty_feeds(manifest) | factor_feeds(task.task, task, manifest)
    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    # The values refer to the arrays, which `factors` keeps alive until they are written.
    adapter.set_parameters(
        {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in factors.items()}
    )
    with tempfile.TemporaryDirectory() as scratch:
        unnamed = Path(scratch, f"task{SUFFIX}")
        adapter.export_adapter(str(unnamed))
        exported = unnamed.read_bytes()
    name = tensors.name if task.head.layers else None
    text = json.dumps(_head_json(task, head, manifest, name), indent=1, ensure_ascii=False)
    files = {out: exported, tensors: save(_head_tensors(head)), description: f"{text}\n".encode()}
    write_files({path: files[path] for path in paths})
    return WrittenAdapter(paths, tuple(p.stat().st_size for p in paths), len(task.sites))


def open_task(bundle: Path, base: Path) -> tuple[Bundle, BaseManifest]:
    """Reads the task in the file `bundle`, decoded, and the manifest of `base`; they must fit."""
    manifest = read_manifest(base)
    task = read_bundle_file(bundle)
    check_fits(task, manifest)
    return task.decoded(), manifest


def _head_tensors(head: Head) -> dict[str, Floats]:
    tensors = {}
    for i, layer in enumerate(head.layers):
        tensors[f"{i}.weight"] = np.ascontiguousarray(layer.dense())
        if layer.bias is not None:
            tensors[f"{i}.bias"] = np.ascontiguousarray(layer.bias)
    return tensors


def _head_json(
    task: Bundle, head: Head, manifest: BaseManifest, tensors: str | None
) -> Mapping[str, Any]:
    text = _text_json(task, manifest)
    return {
        "format": HEAD_FORMAT if text is None or text.keys() <= _FIRST_KEYS else CUT_FORMAT,
        "task": task.task,
        "base": task.base,
        "kind": head.kind,
        "labels": list(task.labels),
        "pooling": head.pooling,
        "normalize": head.normalize,
        "layers": [
            {"n": layer.n, "d": layer.d, "activation": layer.activation} for layer in head.layers
        ],
        "tensors": tensors,
        "text": text,
    }


def _text_json(task: Bundle, manifest: BaseManifest) -> dict[str, Any] | None:
    """The facts that tokens of the task's texts are made by; None without a tokenizer."""
    if manifest.text is None:
        return None
    own = TaskText() if task.text is None else task.text
    most = min(own.max_length or manifest.text.max_length, manifest.text.max_length)
    usual = {"max_length": most, "pad_id": manifest.text.pad_id}
    return usual | {key: value for key, value in own.described().items() if key not in usual}
