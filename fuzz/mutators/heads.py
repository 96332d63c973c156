"""Mutates the head of a bundle and its labels, and makes tensors that fit what the head says."""

import json
import math
from random import Random
from typing import Any

from fuzz.mutators.container import DTYPES, Container, TensorBytes
from fuzz.mutators.json_values import mutate_json, mutate_json_text, written
from osd_edge.formats.heads import ACTIVATIONS, POOLINGS
from osd_edge.formats.kinds import KINDS, format_kind

_WORDS = (
    *(*KINDS, *POOLINGS, *ACTIVATIONS, "kind", "pooling", "layers", "normalize"),
    *("shape", "rank", "activation", None, True, False, 0, 1, [1, 1]),
)
_MOST = 4096  # elements of a matrix that is made


def mutate_head(noise: Random, container: Container) -> None:
    """Changes `osd.head`; then, mostly, labels and tensors are made to fit it again."""
    head = read(container, "osd.head")
    if head is None:
        return
    for _ in range(noise.choice((1, 1, 2))):
        head = _changed(noise, head)
    text = written(noise, head)
    if noise.random() < 0.05:
        text = mutate_json_text(noise, text)
    container.metadata["osd.head"] = text
    if noise.random() < 0.6:
        _fit_labels(noise, container, head)
    if noise.random() < 0.6 and "osd.coded" not in container.parts:
        _fit_tensors(noise, container, head)


def mutate_labels(noise: Random, container: Container) -> None:
    """Changes `osd.labels`."""
    labels = read(container, "osd.labels")
    text = written(noise, mutate_json(noise, [] if labels is None else labels, ("start", "end")))
    if noise.random() < 0.1:
        text = mutate_json_text(noise, text)
    container.metadata["osd.labels"] = text


def read(container: Container, key: str) -> Any:
    """Reads the JSON of a metadata value, None where it has none."""
    try:
        return json.loads(container.metadata[key])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _changed(noise: Random, head: Any) -> Any:
    layers = head.get("layers") if isinstance(head, dict) else None
    if not isinstance(layers, list) or not layers or noise.random() < 0.5:
        return mutate_json(noise, head, _WORDS)
    layer = noise.choice(layers)
    kind = noise.randrange(5)
    if kind == 0:
        known = noise.choice([*KINDS.values()])
        fitting = [pooling for pooling in POOLINGS if known.takes(pooling)]
        head["kind"] = known.name
        head["pooling"] = noise.choice(fitting if noise.random() < 0.8 else POOLINGS)
        head.pop("normalize", None)
        if known.writes and noise.random() < 0.8:
            head["layers"] = []
        if known.vector:
            head["normalize"] = noise.random() < 0.5
    elif kind == 1:
        layers.append(json.loads(json.dumps(layer)))
        del layers[18:]
    elif kind == 2:
        layers.pop()
    elif isinstance(layer, dict) and kind == 3:
        layer["activation"] = noise.choice((*ACTIVATIONS, None))
    elif isinstance(layer, dict):
        layer["rank"] = noise.choice((0, 1, 2, 3))
    return head


def _fit_labels(noise: Random, container: Container, head: Any) -> None:
    try:
        known = format_kind(head["kind"])
        outputs = head["layers"][-1]["shape"][0] if head["layers"] else 0
    except (KeyError, TypeError, IndexError):
        return
    if known is not None and type(outputs) is int and 0 <= outputs <= 300:
        labels = list(known.labels or (f"l{i}" for i in range(0 if known.vector else outputs)))
        container.metadata["osd.labels"] = written(noise, labels)


def _fit_tensors(noise: Random, container: Container, head: Any) -> None:
    """Puts matrices of the described shapes in the place of the head's tensors."""
    dtype = noise.choice(("F32", "F16", "I8"))
    made: dict[str, TensorBytes] = {}
    try:
        for i, layer in enumerate(head["layers"]):
            (n, d), rank = layer["shape"], layer["rank"]
            rows = rank or n
            shapes = {"u": (rank, n), "v": (rank, d)} if rank else {"weight": (n, d)}
            for name, shape in shapes.items():
                made[f"osd.head.{i}.{name}"] = _matrix(noise, dtype, list(shape))
            if dtype == "I8":
                made[f"osd.head.{i}.scale"] = _matrix(noise, "F32", [rows])
            if noise.random() < 0.5:
                made[f"osd.head.{i}.bias"] = _matrix(noise, "F32", [n])
    except (KeyError, TypeError, ValueError):
        return
    for name in [name for name in container.parts if name.startswith("osd.head.")]:
        del container.parts[name]
    container.parts |= made


def _matrix(noise: Random, dtype: str, shape: list[int]) -> TensorBytes:
    fine = all(type(x) is int and 0 < x <= _MOST for x in shape)
    size = math.prod(shape) if fine else 0
    if not 0 < size <= _MOST:
        raise ValueError("more than a mutant holds")
    # Bytes below 0x40 make numbers that are finite in every type.
    return TensorBytes(dtype, shape, bytes(noise.choices(range(64), k=size * DTYPES[dtype])))
