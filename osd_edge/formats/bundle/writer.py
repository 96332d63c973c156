"""Writes a task bundle as a file: equal bundles give equal bytes.

`docs/bundle-format.md` specifies the file to the bit; `reader` reads and checks it.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import expect
from osd_edge.formats.bundle.coded_writer import encode_part, encode_vectors
from osd_edge.formats.bundle.model import (
    CODED,
    FORMAT_VERSION,
    Bundle,
    StoredHead,
    check_sequence,
)
from osd_edge.formats.bundle.plain import VALUE_TYPES, PlainLayer, PlainSite
from osd_edge.formats.bundle.probe import read_probe
from osd_edge.formats.bundle.slots import check_slots
from osd_edge.formats.bundle.text import read_text
from osd_edge.formats.container import check_signature, pack
from osd_edge.formats.kinds import format_kind
from osd_edge.formats.limits import task_name

Array = NDArray[Any]


def write_bundle(bundle: Bundle) -> bytes:
    """Writes `bundle` as the bytes of a file; equal bundles give equal bytes.

    Args:
        bundle: Sites by ascending index; values in the type that `bundle.values` names. A
            signature is written as it stands, and holds for the file that it was made for alone.

    Returns:
        The whole file. Nothing is written to the disk.

    Raises:
        InputError: `input.task-name` where the task's name cannot stand in a file's name,
            `input.type` for what is no bundle.
        BundleError: `bundle.slots` where so few bytes hold so many numbers, nearly all of them
            zeros, that no reader takes the file; the readers' own codes for a sequence, a
            signature, text settings or a probe that they refuse.
        ValueError: Sites or head layers are not of the type that `bundle.values` names.

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from osd_edge import read_bundle, write_bundle
    >>> data = Path("colours.osd.safetensors").read_bytes()
    >>> write_bundle(read_bundle(data)) == data
    True
    >>> read_bundle(write_bundle(replace(read_bundle(data), task_version="2"))).task_version
    '2'
    """
    task_name(expect(bundle, Bundle, "bundle").task)
    tensors = _tensors(bundle)
    if bundle.vectors:
        tensors["osd.vectors"] = np.frombuffer(encode_vectors(bundle.vectors), np.uint8)
    metadata = {
        "osd.format": str(FORMAT_VERSION),
        "osd.task": bundle.task,
        "osd.task_version": bundle.task_version,
        "osd.base": bundle.base,
        "osd.site_count": str(bundle.site_count),
        "osd.labels": _json(bundle.labels),
        "osd.head": _json(_head_description(bundle.head)),
        "info.tool": bundle.tool,
    }
    metadata |= _optional(bundle)
    if bundle.method:
        metadata["info.method"] = _json(bundle.method)
    if bundle.scores:
        metadata["info.scores"] = _json(bundle.scores)
    data = pack(tensors, metadata)
    check_signature(data, metadata)
    vectors = sum(vector.codes.size for vector in bundle.vectors)
    check_slots(len(data), bundle.sites, bundle.head.layers, vectors)
    return data


def _optional(bundle: Bundle) -> dict[str, str]:
    """The metadata that a bundle need not have, held to what readers ask of them."""
    metadata = {}
    kind = format_kind(bundle.head.kind)
    assert kind is not None, "a head of a known kind"
    if bundle.sequence:
        metadata["osd.sequence"] = str(bundle.sequence)
        check_sequence(metadata["osd.sequence"])
    if bundle.signature:
        metadata["osd.signature"] = bundle.signature
    if bundle.text is not None:
        read_text(bundle.text.described(), kind)
        metadata["osd.text"] = _json(bundle.text.described())
    if bundle.probe is not None:
        layers = bundle.head.layers
        read_probe(bundle.probe.described(), kind, layers[-1].shape[0] if layers else 0)
        metadata["osd.probe"] = _json(bundle.probe.described())
    return metadata


def _tensors(bundle: Bundle) -> dict[str, Array]:
    if bundle.values == CODED:
        sites = [site for site in bundle.sites if not isinstance(site, PlainSite)]
        layers = [layer for layer in bundle.head.layers if not isinstance(layer, PlainLayer)]
        if (len(sites), len(layers)) != (len(bundle.sites), len(bundle.head.layers)):
            raise ValueError("a coded bundle has integers alone")
        return {"osd.coded": np.frombuffer(encode_part(sites, layers), np.uint8)}
    deltas = [site for site in bundle.sites if isinstance(site, PlainSite)]
    full = [layer for layer in bundle.head.layers if isinstance(layer, PlainLayer)]
    if (len(deltas), len(full)) != (len(bundle.sites), len(bundle.head.layers)):
        raise ValueError(f"integers in a bundle of {bundle.values} values")
    return _delta_tensors(bundle.values, deltas) | _head_tensors(full)


def _delta_tensors(values: str, sites: Sequence[PlainSite]) -> dict[str, Array]:
    factors = [factor for site in sites for factor in (site.u, site.v)]
    dtype = VALUE_TYPES[values]
    table = np.array([[s.site, s.n, s.d, s.k] for s in sites], np.uint16).reshape(-1, 4)
    tensors: dict[str, Array] = {
        "osd.sites": table,
        "osd.values": np.concatenate([np.zeros(0, dtype), *(f.values for f in factors)]),
    }
    if any(f.count != f.slots for f in factors):
        tensors["osd.counts"] = np.array([f.count for f in factors], np.uint32).reshape(-1, 2)
        tensors["osd.positions"] = np.concatenate([f.where for f in factors])
    if values == "int8":
        scales = [s.scale for s in sites if s.scale is not None]
        tensors["osd.scales"] = np.concatenate([np.zeros(0, np.float32), *scales])
    return tensors


def _head_tensors(layers: Sequence[PlainLayer]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        for part, matrix in (("weight", layer.weight), ("u", layer.u), ("v", layer.v)):
            if matrix is not None:
                tensors[f"osd.head.{i}.{part}"] = matrix.values
                if matrix.scale is not None:
                    tensors[f"osd.head.{i}.scale"] = matrix.scale
        if layer.bias is not None:
            tensors[f"osd.head.{i}.bias"] = layer.bias
    return tensors


def _head_description(head: StoredHead) -> dict[str, object]:
    layers = [
        {"shape": layer.shape, "rank": layer.rank, "activation": layer.activation}
        for layer in head.layers
    ]
    described: dict[str, object] = {"kind": head.kind, "pooling": head.pooling, "layers": layers}
    known = format_kind(head.kind)
    if known is not None and known.vector:
        described["normalize"] = head.normalize
    return described


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
