"""Reading a task bundle that may be damaged or hostile.

Every number in the file is checked against the file's own size before anything is allocated
from it. The order of the checks is part of the format, so that every reader gives the same
code for the same file: header, format version, layout, digest, keys, sites, labels, head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from osd_edge import heads, positions
from osd_edge.bundle import (
    CODED,
    FINGERPRINT,
    FORMAT_VERSION,
    TASK_NAME,
    VALUE_TYPES,
    AnySite,
    Array,
    Bundle,
    CodedHead,
    CodedHeadLayer,
    Matrix,
    SiteDelta,
)
from osd_edge.coded_part import CodedLayer, CodedPart, CodedSite, LayerFacts, PartReader
from osd_edge.container import DIGEST_KEY, check_digest, parse_json, read_header, read_tensors
from osd_edge.errors import BundleError
from osd_edge.factor import CodedFactor

MAX_BUNDLE_BYTES = 1 << 31
Layer = TypeVar("Layer", CodedHeadLayer, LayerFacts)

_REQUIRED_KEYS = (
    "osd.format",
    "osd.task",
    "osd.task_version",
    "osd.base",
    "osd.site_count",
    "osd.labels",
    "osd.head",
    DIGEST_KEY,
)
_IGNORABLE = "info."  # keys and tensors so named may be unknown; any other must be understood
_VALUE_NAMES = {dtype: name for name, dtype in VALUE_TYPES.items()}


def read_bundle_file(path: Path) -> Bundle:
    """The checked bundle in the file `path`.

    Raises BundleError: `bundle.missing` where it cannot be read, else as `read_bundle`.
    """
    data = read_bundle_bytes(path)
    with refusals_of(path):
        return read_bundle(data)


def read_bundle_bytes(path: Path) -> bytes:
    """The bytes of the file `path`, unchecked; raises BundleError `bundle.missing`."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BundleError("bundle.missing", f"{path} is not a file")
        if size > MAX_BUNDLE_BYTES:
            raise BundleError("bundle.header-length", f"{path} has {size} bytes: not a task bundle")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            "bundle.missing", f"cannot read {path}: {error.strerror or error}"
        ) from error


@contextmanager
def refusals_of(path: Path) -> Iterator[None]:
    """Within this, refusals of a bundle name the file `path`."""
    try:
        yield
    except BundleError as error:
        raise BundleError(error.code, f"{path}: {error}") from error


def stored_labels(data: bytes) -> tuple[str, ...]:
    """The labels in `data`, which `read_bundle` has read before."""
    return _read_labels(read_header(data)[0]["osd.labels"])


def stored_kind(data: bytes) -> str:
    """The kind of the head in `data`, which `read_bundle` has read before."""
    kind: str = parse_json(read_header(data)[0]["osd.head"])["kind"]
    return kind


def read_bundle(data: bytes) -> Bundle:
    """The bundle in `data`, wholly checked but for its base; factors stay coded.

    Arrays are views of `data`.

    Raises BundleError with the code that `docs/bundle-format.md` lists.
    """
    metadata, entries, start = read_header(data)
    _check_version(metadata)
    tensors = read_tensors(data, entries, start)
    check_digest(data, metadata)
    _check_keys(metadata)
    known = {name: array for name, array in tensors.items() if not name.startswith(_IGNORABLE)}
    site_count = _number(metadata["osd.site_count"])
    values: str
    sites: tuple[AnySite, ...]
    if "osd.coded" in known:
        reader = PartReader(_take(known, "osd.coded", ("u1",), 1), site_count)
        labels = _read_labels(metadata["osd.labels"])
        values = CODED
        sites, head = _read_coded(reader, metadata["osd.head"], labels)
    else:
        values, sites = _read_sites(known, site_count)
        labels = _read_labels(metadata["osd.labels"])
        head = _read_head(metadata["osd.head"], known, labels)
    if known:
        raise BundleError("bundle.tensor-unknown", f"unknown tensor {sorted(known)[0][:80]!r}")
    return Bundle(
        task=metadata["osd.task"],
        task_version=metadata["osd.task_version"],
        labels=labels,
        base=metadata["osd.base"],
        site_count=site_count,
        values=values,
        sites=sites,
        head=head,
        method=_info(metadata, "info.method"),
        scores=_info(metadata, "info.scores"),
        tool=metadata.get("info.tool", ""),
    )


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("osd.format")
    if version is None:
        raise BundleError(
            "bundle.not-a-bundle", "a safetensors file without osd.format: not a task bundle"
        )
    if version != str(FORMAT_VERSION):
        raise BundleError(
            "bundle.version",
            f"format version {version[:20]!r}, this release reads {FORMAT_VERSION}: "
            "update osd-edge, or export the task again",
        )


def _check_keys(metadata: Mapping[str, str]) -> None:
    for key in metadata:
        if key not in _REQUIRED_KEYS and not key.startswith(_IGNORABLE):
            raise BundleError(
                "bundle.key-unknown",
                f"the bundle needs {key[:80]!r}, which this release does not know: update osd-edge",
            )
    for key in _REQUIRED_KEYS:
        if key not in metadata:
            raise BundleError("bundle.key-missing", f"the metadata lacks {key!r}")
    if not TASK_NAME.fullmatch(metadata["osd.task"]):
        raise BundleError("bundle.key-value", f"bad task name {metadata['osd.task'][:80]!r}")
    if not FINGERPRINT.fullmatch(metadata["osd.base"]):
        raise BundleError("bundle.key-value", "osd.base is not 64 hex digits")
    _number(metadata["osd.site_count"])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > 65_535:
        raise BundleError("bundle.key-value", f"osd.site_count is {text[:20]!r}")
    return int(text)


def _take(tensors: dict[str, Array], name: str, dtypes: tuple[str, ...], ndim: int) -> Array:
    """Remove and return tensor `name`; what is left at the end is unknown."""
    array = tensors.pop(name, None)
    if array is None:
        raise BundleError("bundle.tensor-missing", f"the bundle lacks tensor {name!r}")
    if array.dtype not in [np.dtype(dtype) for dtype in dtypes] or array.ndim != ndim:
        raise BundleError(
            "bundle.tensor-type", f"tensor {name!r} is {array.dtype} with {array.ndim} dimensions"
        )
    return array


def _read_sites(tensors: dict[str, Array], site_count: int) -> tuple[str, tuple[SiteDelta, ...]]:
    table = _take(tensors, "osd.sites", ("<u2",), 2)
    if table.shape[1] != 4:
        raise BundleError("bundle.tensor-type", f"osd.sites has shape {list(table.shape)}")
    values = _take(tensors, "osd.values", ("<f4", "<f2", "i1"), 1)
    if len(table) > site_count:
        raise BundleError("bundle.site-order", f"{len(table)} rows for {site_count} sites")
    rows = [[int(x) for x in row] for row in table]
    _check_table(rows, site_count)
    slots = np.array([[k * n, k * d] for _, n, d, k in rows], np.int64).reshape(-1, 2)
    counts = slots
    stream = np.zeros(0, np.uint8)
    if "osd.counts" in tensors or "osd.positions" in tensors:
        counts = _take(tensors, "osd.counts", ("<u4",), 2).astype(np.int64)
        stream = _take(tensors, "osd.positions", ("u1",), 1)
        if counts.shape != slots.shape or (counts > slots).any() or (counts == slots).all():
            raise BundleError(
                "bundle.counts", "osd.counts does not fit the ranks and shapes in osd.sites"
            )
    sizes = [
        [positions.coded_bytes(int(s), int(c)) for s, c in zip(*pair, strict=True)]
        for pair in zip(slots, counts, strict=True)
    ]
    if sum(map(sum, sizes)) != stream.size or int(counts.sum()) != values.size:
        raise BundleError(
            "bundle.stream-length",
            f"the sites need {sum(map(sum, sizes))} bytes of positions and {int(counts.sum())} "
            f"values, the bundle has {stream.size} and {values.size}",
        )
    scales = _read_scales(tensors, values, sum(row[3] for row in rows))
    return _VALUE_NAMES[values.dtype], _split(rows, counts, stream, values, scales)


def _check_table(rows: list[list[int]], site_count: int) -> None:
    previous = -1
    for site, n, d, k in rows:
        if not previous < site < site_count:
            raise BundleError(
                "bundle.site-order", f"site {site} after {previous}, of {site_count} sites"
            )
        if not 1 <= k <= min(n, d):
            raise BundleError("bundle.site-rank", f"site {site} has rank {k} for [{n}, {d}]")
        previous = site


def _read_scales(tensors: dict[str, Array], values: Array, columns: int) -> Array | None:
    _check_finite("osd.values", values)
    if values.dtype != np.int8:
        return None
    scales = _take(tensors, "osd.scales", ("<f4",), 1)
    if scales.size != columns:
        raise BundleError(
            "bundle.stream-length", f"{scales.size} scales for {columns} columns of factors"
        )
    _check_finite("osd.scales", scales)
    return scales


def _split(
    rows: list[list[int]], counts: Array, stream: Array, values: Array, scales: Array | None
) -> tuple[SiteDelta, ...]:
    sites = []
    at, value, column = 0, 0, 0
    for (site, n, d, k), pair in zip(rows, counts, strict=True):
        factors = []
        for width, count in zip((n, d), (int(c) for c in pair), strict=True):
            size = positions.coded_bytes(k * width, count)
            where, part = stream[at : at + size], values[value : value + count]
            factors.append(CodedFactor(k, width, where, part))
            factors[-1].check()
            at, value = at + size, value + count
        scale = None if scales is None else scales[column : column + k]
        column += k
        sites.append(SiteDelta(site, factors[0], factors[1], scale))
    return tuple(sites)


def _read_labels(text: str) -> tuple[str, ...]:
    labels = _parse(text, "osd.labels")
    if (
        not isinstance(labels, list)
        or not all(isinstance(label, str) and label for label in labels)
        or len(set(labels)) != len(labels)
    ):
        raise BundleError("bundle.labels", "osd.labels is not a list of distinct names")
    return tuple(labels)


def _read_coded(
    reader: PartReader, description: str, labels: Sequence[str]
) -> tuple[tuple[CodedSite, ...], CodedHead]:
    head, layers = _parse_head(description, labels, lambda _, facts: facts)
    part: CodedPart = reader.finish(layers)
    sites = tuple(CodedSite(part, i) for i in range(len(part.sites)))
    return sites, replace(head, layers=tuple(CodedLayer(part, i) for i in range(len(layers))))


def _read_head(text: str, tensors: dict[str, Array], labels: Sequence[str]) -> CodedHead:
    head, layers = _parse_head(text, labels, lambda i, facts: _read_layer(i, facts, tensors))
    return replace(head, layers=layers)


def _parse_head(
    text: str, labels: Sequence[str], read_layer: Callable[[int, LayerFacts], Layer]
) -> tuple[CodedHead, tuple[Layer, ...]]:
    """The head without its layers, and what `read_layer` makes of the description of each."""
    description = _parse(text, "osd.head")
    problem = BundleError("bundle.head", "osd.head does not describe a head")
    fields = {"kind", "pooling", "layers"}
    if not isinstance(description, dict) or set(description) - {"normalize"} != fields:
        raise problem
    kind, pooling, layers = (description[key] for key in ("kind", "pooling", "layers"))
    if not isinstance(kind, str) or not isinstance(pooling, str):
        raise problem
    if kind not in heads.KINDS or pooling not in heads.POOLINGS:
        raise BundleError(
            "bundle.head-kind",
            f"a head of kind {kind[:40]!r} with pooling {pooling[:40]!r} is not known "
            "to this release: update osd-edge",
        )
    normalize = description.get("normalize", None if kind == "embedding" else False)
    if (
        type(normalize) is not bool
        or ("normalize" in description) != (kind == "embedding")
        or (pooling == "none") != (kind in heads.TOKEN_KINDS)
    ):
        raise problem
    least = 0 if kind == "embedding" else 1
    if not isinstance(layers, list) or not least <= len(layers) <= 16:
        raise problem
    read = tuple(read_layer(i, _layer_facts(i, layer)) for i, layer in enumerate(layers))
    for layer, following in pairwise(read):
        if layer.shape[0] != following.shape[1]:
            raise BundleError("bundle.head", "the layers of the head do not fit each other")
    outputs = read[-1].shape[0] if kind != "embedding" else 0
    if len(labels) != outputs or (kind == "spans" and tuple(labels) != heads.SPAN_LABELS):
        raise BundleError(
            "bundle.labels", f"{len(labels)} labels for a {kind} head with {outputs} outputs"
        )
    return CodedHead(kind, pooling, (), normalize), read


def _layer_facts(i: int, description: object) -> LayerFacts:
    problem = BundleError("bundle.head", f"layer {i} of osd.head is malformed")
    if not isinstance(description, dict) or set(description) != {"shape", "rank", "activation"}:
        raise problem
    shape, rank, activation = (description[key] for key in ("shape", "rank", "activation"))
    if not isinstance(shape, list) or len(shape) != 2 or type(rank) is not int or rank < 0:
        raise problem
    if not all(type(x) is int and x > 0 for x in shape):
        raise problem
    if activation is not None and not isinstance(activation, str):
        raise problem
    if activation is not None and activation not in heads.ACTIVATIONS:
        raise BundleError(
            "bundle.head-kind",
            f"activation {activation[:40]!r} is not known to this release: update osd-edge",
        )
    return LayerFacts(activation, (shape[0], shape[1]), rank)


def _read_layer(i: int, facts: LayerFacts, tensors: dict[str, Array]) -> CodedHeadLayer:
    problem = BundleError("bundle.head", f"layer {i} of osd.head does not fit its tensors")
    prefix = f"osd.head.{i}."
    bias = None
    if f"{prefix}bias" in tensors:
        bias = _take(tensors, f"{prefix}bias", ("<f4",), 1)
        _check_finite(f"{prefix}bias", bias)
    if facts.rank == 0:
        weight = _read_matrix(prefix, "weight", tensors)
        layer = CodedHeadLayer(facts.activation, bias, weight=weight)
    else:
        u = _read_matrix(prefix, "u", tensors)
        v = Matrix(_values(tensors, f"{prefix}v"))
        layer = CodedHeadLayer(facts.activation, bias, u=u, v=v)
        if v.values.shape[0] != facts.rank or v.values.dtype != u.values.dtype:
            raise problem
    if layer.shape != facts.shape or layer.rank != facts.rank:
        raise problem
    if bias is not None and bias.size != layer.shape[0]:
        raise problem
    return layer


def _read_matrix(prefix: str, part: str, tensors: dict[str, Array]) -> Matrix:
    values = _values(tensors, prefix + part)
    if values.dtype != np.int8:
        return Matrix(values)
    scale = _take(tensors, f"{prefix}scale", ("<f4",), 1)
    _check_finite(f"{prefix}scale", scale)
    if scale.size != values.shape[0]:
        raise BundleError("bundle.head", f"{prefix}scale does not fit {prefix}{part}")
    return Matrix(values, scale)


def _values(tensors: dict[str, Array], name: str) -> Array:
    values = _take(tensors, name, ("<f4", "<f2", "i1"), 2)
    _check_finite(name, values)
    return values


def _check_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise BundleError("bundle.not-finite", f"tensor {name!r} holds NaN or infinity")


def _parse(text: str, key: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise BundleError("bundle.key-value", f"{key} is not JSON: {error}") from error


def _info(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """What is only for people: unreadable is as good as absent."""
    try:
        value = parse_json(metadata.get(key, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
