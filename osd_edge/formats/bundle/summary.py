"""Summarizes a task bundle for people and programs: `osd-edge inspect` shows it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.coded import CodedSite
from osd_edge.formats.bundle.integers import IntegerSite
from osd_edge.formats.bundle.model import (
    Bundle,
    StoredLayer,
    StoredSite,
)
from osd_edge.formats.bundle.plain import VALUE_TYPES, PlainLayer
from osd_edge.formats.coding.rows import row_bits


def summarize(bundle: Bundle, file_bytes: int) -> dict[str, Any]:
    """Gives ranks and densities by site, bits per value and bytes by part, all sizes in bytes.

    Coded rows share one stream: what each takes is what its integers take in their class.
    """
    bundle = bundle.decoded()
    sites = [_site(site, bundle.values) for site in bundle.sites]
    nonzeros = sum(site.pop("nonzeros") for site in sites)
    parts = {part: sum(site.pop(part) for site in sites) for part in ("values", "positions")}
    scales = sum(site["bytes"] for site in sites) - sum(parts.values())
    parts |= {"scales": scales, "head": sum(map(_layer_bytes, bundle.head.layers))}
    parts["vectors"] = _coded_bytes([each.codes[None] for each in bundle.vectors])
    parts = {part: round(size) for part, size in parts.items()}
    delta = sum(site["bytes"] for site in sites)
    counted = {
        "nonzeros": nonzeros,
        "bits_per_nonzero": 8 * delta / nonzeros if nonzeros else 0.0,
        "bytes": {"file": file_bytes} | parts | {"rest": file_bytes - sum(parts.values())},
        "site_count": bundle.site_count,
        "sites": [site | {"bytes": round(site["bytes"])} for site in sites],
        "head_layers": [_head_layer(layer) for layer in bundle.head.layers],
    }
    facts = bundle.as_dict()
    return {name: facts[name] for name in facts if name not in counted} | counted


def _site(s: StoredSite, values: str) -> dict[str, Any]:
    size: float
    if isinstance(s, IntegerSite):
        counts = [int(np.count_nonzero(factor)) for factor in (s.u, s.v)]
        size, positions, scales = _coded_bytes((s.u, s.v)), 0, s.scale.size
    else:
        assert not isinstance(s, CodedSite), "decoded above"
        counts = [s.u.count, s.v.count]
        size = sum(counts) * VALUE_TYPES[values].itemsize
        positions = s.u.where.size + s.v.where.size
        scales = 0 if s.scale is None else s.scale.nbytes
    return {
        "site": s.site,
        "n": s.n,
        "d": s.d,
        "rank": s.k,
        "density_u": counts[0] / (s.k * s.n),
        "density_v": counts[1] / (s.k * s.d),
        "bytes": size + positions + scales,
        "nonzeros": sum(counts),
        "values": size,
        "positions": positions,
    }


def _coded_bytes(matrices: Sequence[NDArray[Any]]) -> float:
    return float(sum(row_bits(matrix).sum() for matrix in matrices)) / 8


def _layer_bytes(layer: StoredLayer) -> float:
    if isinstance(layer, PlainLayer):
        arrays = [m for m in (layer.weight, layer.u, layer.v) if m is not None]
        scales = [m.scale.nbytes for m in arrays if m.scale is not None]
        bias = 0 if layer.bias is None else layer.bias.nbytes
        return sum(m.values.nbytes for m in arrays) + sum(scales) + bias
    integers = layer.integers()
    matrix = integers.weight or integers.u
    assert matrix is not None
    return _coded_bytes(integers.matrices) + matrix.scale.size


def _head_layer(layer: StoredLayer) -> dict[str, Any]:
    n, d = layer.shape
    return {"n": n, "d": d, "rank": layer.rank, "bytes": round(_layer_bytes(layer))}
