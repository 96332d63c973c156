"""What a bundle holds, as plain data for people and programs."""

from typing import Any

from osd_edge.bundle import VALUE_TYPES, Bundle, CodedHead, SiteDelta


def summarize(bundle: Bundle, file_bytes: int) -> dict[str, Any]:
    """Ranks and densities by site, bits per value and bytes by part; sizes in bytes."""
    element = VALUE_TYPES[bundle.values].itemsize
    positions = sum(s.u.where.size + s.v.where.size for s in bundle.sites)
    nonzeros = sum(s.u.count + s.v.count for s in bundle.sites)
    scales = sum(s.scale.nbytes for s in bundle.sites if s.scale is not None)
    head = _head_bytes(bundle.head)
    values = nonzeros * element
    return {
        "task": bundle.task,
        "task_version": bundle.task_version,
        "tool": bundle.tool,
        "base": bundle.base,
        "labels": list(bundle.labels),
        "head": _describe_head(bundle.head),
        "method": dict(bundle.method),
        "scores": dict(bundle.scores),
        "values": bundle.values,
        "nonzeros": nonzeros,
        "bits_per_nonzero": 8 * (values + positions + scales) / nonzeros if nonzeros else 0.0,
        "bytes": {
            "file": file_bytes,
            "values": values,
            "positions": positions,
            "scales": scales,
            "head": head,
            "rest": file_bytes - values - positions - scales - head,
        },
        "site_count": bundle.site_count,
        "sites": [_site(s, element) for s in bundle.sites],
    }


def _site(s: SiteDelta, element: int) -> dict[str, Any]:
    size = element * (s.u.count + s.v.count) + s.u.where.size + s.v.where.size
    return {
        "site": s.site,
        "n": s.n,
        "d": s.d,
        "rank": s.k,
        "density_u": s.u.count / s.u.slots,
        "density_v": s.v.count / s.v.slots,
        "bytes": size + (0 if s.scale is None else s.scale.nbytes),
    }


def _head_bytes(head: CodedHead) -> int:
    total = 0
    for layer in head.layers:
        for matrix in (layer.weight, layer.u, layer.v):
            if matrix is not None:
                total += matrix.values.nbytes + (0 if matrix.scale is None else matrix.scale.nbytes)
        total += 0 if layer.bias is None else layer.bias.nbytes
    return total


def _describe_head(head: CodedHead) -> str:
    """For example `pooler → linear [6, 384] → labels`."""
    parts = [head.pooling]
    for layer in head.layers:
        n, d = layer.shape
        rank = f" of rank {layer.rank}" if layer.rank else ""
        parts.append(f"linear [{n}, {d}]{rank}")
        if layer.activation:
            parts.append(layer.activation)
    return " → ".join([*parts, head.kind])
