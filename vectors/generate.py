"""Make the test vectors of bundle format version 1: `python vectors/generate.py [FOLDER]`.

Valid files come from this project's writer, but what they must decode to is taken from the
arrays they were made of, and logits from plain Python floats, so a mistake in the reader shows.
Invalid files are valid ones with one rule broken by hand; the digest is recomputed unless the
case is about the digest. Nothing depends on the machine or the day: a test compares the bytes.
"""

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ed25519 import public_key
from invalid_cases import invalid_cases
from optional_parts import KEY_ID, SEED
from parts import MANIFEST, Array, Delta
from surgery import Draft
from valid_cases import valid_cases

from osd_edge.formats.bundle.integers import IntegerLayer
from osd_edge.formats.bundle.model import (
    FORMAT_VERSION,
    Bundle,
    StoredHead,
    StoredLayer,
)
from osd_edge.formats.bundle.plain import PlainLayer
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.kinds import format_kind

Case = dict[str, Any]

SCHEMA = "osd-edge-bundle-vectors"
TOLERANCE = 1e-5
FLAGS = {
    "against-base": "readable on its own, refused against base/manifest.json",
    "bitmap": "a factor coded as a bitmap",
    "coded": "integers in osd.coded",
    "dense": "a factor without zeros",
    "fits-base": "also fits base/manifest.json",
    "fp16": "half-precision values",
    "fp32": "single-precision values",
    "head": "about the head",
    "hostile-size": "numbers that a careless reader would allocate from",
    "indices": "a factor coded as indices",
    "int8": "8-bit values with scales",
    "kind": "about a kind of task beside labels",
    "json": "about the JSON of the header or of a metadata value",
    "logits": "has inputs and the logits the head must give for them",
    "order": "breaks two rules: the code is that of the earlier check",
    "other-writer": "laid out as another writer might",
    "probe": "has inputs with expected answers",
    "signature": "has a signature",
    "text": "has text settings of its own",
    "vectors": "changes biases and norms",
}


def _sha256(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def _scaled(values: Array, scale: Array | None) -> Array:
    decoded = values.astype(np.float32)
    return decoded if scale is None else decoded * scale[:, None]


def _layer_arrays(layer: StoredLayer) -> dict[str, Array]:
    """The layer's float32 arrays by name, those that it has."""
    if isinstance(layer, IntegerLayer):
        matrices = {"weight": layer.weight, "u": layer.u}
        arrays = {k: _scaled(m.codes, m.scale) for k, m in matrices.items() if m is not None}
        arrays |= {} if layer.v is None else {"v": _scaled(layer.v, None)}
        bias = None if layer.bias is None else _scaled(layer.bias.codes, layer.bias.scale)[0]
    else:
        assert isinstance(layer, PlainLayer)
        stored = {"weight": layer.weight, "u": layer.u, "v": layer.v}
        arrays = {k: _scaled(m.values, m.scale) for k, m in stored.items() if m is not None}
        bias = layer.bias
    return arrays if bias is None else arrays | {"bias": bias}


def _expected(bundle: Bundle, deltas: Sequence[Delta]) -> Case:
    kind = format_kind(bundle.head.kind)
    sites = [
        {
            "site": delta.site,
            "n": delta.u.shape[1],
            "d": delta.v.shape[1],
            "k": delta.u.shape[0],
            "u": _sha256(_scaled(delta.u, delta.scale)),
            "v": _sha256(_scaled(delta.v, None)),
        }
        for delta in deltas
    ]
    layers = []
    for layer in bundle.head.layers:
        described: Case = {
            "shape": list(layer.shape),
            "rank": layer.rank,
            "activation": layer.activation,
        }
        layers.append(described | {k: _sha256(a) for k, a in _layer_arrays(layer).items()})
    return {
        "task": bundle.task,
        "task_version": bundle.task_version,
        "base": bundle.base,
        "site_count": bundle.site_count,
        "values": bundle.values,
        "sites": sites,
        "labels": list(bundle.labels),
        "head": {"kind": bundle.head.kind, "pooling": bundle.head.pooling, "layers": layers}
        | ({"normalize": bundle.head.normalize} if kind is not None and kind.vector else {}),
    } | _expected_parts(bundle)


def _expected_parts(bundle: Bundle) -> Case:
    """The parts that a bundle need not have, of those that it has."""
    parts: Case = {}
    if bundle.sequence:
        parts["sequence"] = bundle.sequence
    if bundle.text is not None:
        parts["text"] = bundle.text.described()
    if bundle.probe is not None:
        parts["probe"] = bundle.probe.described()
    if bundle.vectors:
        parts["vectors"] = [
            {
                "vector": each.vector,
                "n": each.codes.size,
                "values": _sha256(each.codes.astype(np.float32) * each.scale),
            }
            for each in bundle.vectors
        ]
    return parts


def _run(head: StoredHead) -> Case:
    """Inputs and logits of a batch of three: no padding, padding behind, padding in front."""
    width = head.layers[0].shape[1] if head.layers else MANIFEST.hidden_size
    random = np.random.RandomState(width)
    hidden = (random.randint(-64, 64, (3, 4, width)) / 32).tolist()
    pooled = (random.randint(-32, 32, (3, width)) / 32).tolist()
    mask = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]
    logits: list[Any] = []
    for tokens, present, own in zip(hidden, mask, pooled, strict=True):
        real = [token for token, there in zip(tokens, present, strict=True) if there]
        vectors = {
            "cls": [tokens[0]],
            "mean": [[sum(column) / len(real) for column in zip(*real, strict=True)]],
            "last": [real[-1]],
            "pooler": [own],
            "none": tokens,
        }[head.pooling]
        rows = [_head(head, x) for x in vectors]
        logits.append(rows if head.pooling == "none" else rows[0])
    return {
        "hidden": hidden,
        "mask": mask,
        "pooled": pooled if head.pooling == "pooler" else None,
        "logits": logits,
    }


def _head(head: StoredHead, x: list[float]) -> list[float]:
    """The head's outputs for one vector."""
    for layer in head.layers:
        x = _apply(layer, x)
    length = math.sqrt(sum(y * y for y in x)) if head.normalize else 1.0
    return [round(y / length, 6) for y in x]


def _apply(layer: StoredLayer, x: list[float]) -> list[float]:
    """One layer in double precision and plain Python: nothing is shared with `formats.heads`."""
    n, d = layer.shape
    arrays = {name: array.tolist() for name, array in _layer_arrays(layer).items()}
    if "weight" in arrays:
        w = arrays["weight"]
    else:
        u, v = arrays["u"], arrays["v"]
        w = [
            [sum(a[i] * b[j] for a, b in zip(u, v, strict=True)) for j in range(d)]
            for i in range(n)
        ]
    bias = arrays.get("bias", [0.0] * n)
    activate: Callable[[float], float] = {
        None: lambda y: y,
        "tanh": math.tanh,
        "relu": lambda y: max(y, 0.0),
        "gelu": lambda y: 0.5 * y * (1 + math.erf(y / math.sqrt(2))),
    }[(layer.activation or "").removesuffix("-norm") or None]
    y = [
        activate(sum(a * b for a, b in zip(row, x, strict=True)) + c)
        for row, c in zip(w, bias, strict=True)
    ]
    if layer.activation == "gelu-norm":
        mean = sum(y) / n
        spread = math.sqrt(sum((z - mean) ** 2 for z in y) / n + 1e-5)
        y = [(z - mean) / spread for z in y]
    return y


def _write(folder: Path) -> None:
    for name in ("valid", "invalid", "base"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / "base" / "manifest.json").write_text(MANIFEST.to_json(), "utf-8", newline="\n")
    cases: list[Case] = []
    files: dict[str, bytes] = {}

    def add(case: Case, data: bytes) -> None:
        path = f"{case['result']}/{case['id']}.osd.safetensors"
        (folder / path).write_bytes(data)
        cases.append({"id": case["id"], "file": path} | case)

    for valid in valid_cases():
        data = write_bundle(valid.bundle)
        if valid.rewrite is not None:
            data = valid.rewrite(Draft.of(data))
        files[valid.id] = data
        case = {
            "id": valid.id,
            "comment": valid.comment,
            "flags": valid.flags.split(),
            "result": "valid",
            "expected": _expected(valid.bundle, valid.deltas),
        }
        if "logits" in valid.flags:
            case["run"] = _run(valid.bundle.head)
        add(case, data)
    for name, code, comment, flags, data in invalid_cases(files):
        case = {"id": name, "comment": comment, "flags": flags.split(), "result": "invalid"}
        add(case | {"code": code}, data)
    ids = [case["id"] for case in cases]
    assert len(set(ids)) == len(ids), f"twice: {[x for x in set(ids) if ids.count(x) > 1]}"
    assert {flag for case in cases for flag in case["flags"]} == set(FLAGS)
    index = {
        "schema": SCHEMA,
        "format": FORMAT_VERSION,
        "base": "base/manifest.json",
        "tolerance": TOLERANCE,
        "signing-key": {"id": KEY_ID, "public": public_key(SEED).hex(), "private": SEED.hex()},
        "flags": FLAGS,
    }
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    text = json.dumps(index, indent=1)[:-2] + f',\n "cases": [\n{lines}\n ]\n}}\n'
    (folder / "index.json").write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    _write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "v1")
