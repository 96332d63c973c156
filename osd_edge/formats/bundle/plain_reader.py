"""Reads the sites and head layers of a plain bundle: values, counts, positions and scales."""

import numpy as np

from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.facts import LayerFacts
from osd_edge.formats.bundle.plain import (
    VALUE_TYPES,
    Array,
    Matrix,
    PlainLayer,
    PlainSite,
)
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.coding import positions
from osd_edge.formats.coding.scales import LARGEST, STEPS

_VALUE_NAMES = {dtype: name for name, dtype in VALUE_TYPES.items()}
_VALUES = ("<f4", "<f2", "i1")
MAX_SCALE = 2.0 ** (LARGEST // STEPS)  # of coded integers too: no product is infinite


class PlainReader:
    """Reads the tensors of a plain bundle in the order of its checks: sites, then head layers."""

    def __init__(self, tensors: dict[str, Array], site_count: int) -> None:
        """Reads the `sites`; each tensor that is read leaves `tensors`. Raises BundleError."""
        self._tensors = tensors
        self.values, self.sites = _read_sites(tensors, site_count)
        self._layers: list[PlainLayer] = []

    def add_layer(self, facts: LayerFacts) -> None:
        """Reads the head's next layer, of this description. Raises BundleError."""
        self._layers.append(_read_layer(len(self._layers), facts, self._tensors))

    def finish(self) -> tuple[tuple[PlainSite, ...], tuple[PlainLayer, ...]]:
        """Gives all sites and layers that were read."""
        return self.sites, tuple(self._layers)


def take(tensors: dict[str, Array], name: str, dtypes: tuple[str, ...], ndim: int) -> Array:
    """Removes and returns tensor `name`; what is left in `tensors` at the end is unknown.

    Raises BundleError `bundle.tensor-missing`, `bundle.tensor-type`.
    """
    array = tensors.pop(name, None)
    if array is None:
        raise BundleError(Code.BUNDLE_TENSOR_MISSING, f"the bundle lacks tensor {name!r}")
    if array.dtype not in [np.dtype(dtype) for dtype in dtypes] or array.ndim != ndim:
        raise BundleError(
            Code.BUNDLE_TENSOR_TYPE,
            f"tensor {name!r} is {array.dtype} with {array.ndim} dimensions",
        )
    return array


def _read_sites(tensors: dict[str, Array], site_count: int) -> tuple[str, tuple[PlainSite, ...]]:
    table = take(tensors, "osd.sites", ("<u2",), 2)
    if table.shape[1] != 4:
        raise BundleError(Code.BUNDLE_TENSOR_TYPE, f"osd.sites has shape {list(table.shape)}")
    values = take(tensors, "osd.values", _VALUES, 1)
    if len(table) > site_count:
        raise BundleError(Code.BUNDLE_SITE_ORDER, f"{len(table)} rows for {site_count} sites")
    rows = [[int(x) for x in row] for row in table]
    _check_table(rows, site_count)
    slots = np.array([[k * n, k * d] for _, n, d, k in rows], np.int64).reshape(-1, 2)
    counts = slots
    stream = np.zeros(0, np.uint8)
    if "osd.counts" in tensors or "osd.positions" in tensors:
        counts = take(tensors, "osd.counts", ("<u4",), 2).astype(np.int64)
        stream = take(tensors, "osd.positions", ("u1",), 1)
        if counts.shape != slots.shape or (counts > slots).any() or (counts == slots).all():
            raise BundleError(
                Code.BUNDLE_COUNTS, "osd.counts does not fit the ranks and shapes in osd.sites"
            )
    sizes = [
        [positions.byte_count(int(s), int(c)) for s, c in zip(*pair, strict=True)]
        for pair in zip(slots, counts, strict=True)
    ]
    if sum(map(sum, sizes)) != stream.size or int(counts.sum()) != values.size:
        raise BundleError(
            Code.BUNDLE_STREAM_LENGTH,
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
                Code.BUNDLE_SITE_ORDER, f"site {site} after {previous}, of {site_count} sites"
            )
        if not 1 <= k <= min(n, d):
            raise BundleError(Code.BUNDLE_SITE_RANK, f"site {site} has rank {k} for [{n}, {d}]")
        previous = site


def _read_scales(tensors: dict[str, Array], values: Array, columns: int) -> Array | None:
    _check_finite("osd.values", values)
    if values.dtype != np.int8:
        return None
    scales = take(tensors, "osd.scales", ("<f4",), 1)
    if scales.size != columns:
        raise BundleError(
            Code.BUNDLE_STREAM_LENGTH, f"{scales.size} scales for {columns} columns of factors"
        )
    _check_scales("osd.scales", scales)
    return scales


def _split(
    rows: list[list[int]], counts: Array, stream: Array, values: Array, scales: Array | None
) -> tuple[PlainSite, ...]:
    sites = []
    at, value, column = 0, 0, 0
    for (site, n, d, k), pair in zip(rows, counts, strict=True):
        factors = []
        for width, count in zip((n, d), (int(c) for c in pair), strict=True):
            size = positions.byte_count(k * width, count)
            where, part = stream[at : at + size], values[value : value + count]
            factors.append(PlainFactor(k, width, where, part))
            factors[-1].check()
            at, value = at + size, value + count
        scale = None if scales is None else scales[column : column + k]
        column += k
        sites.append(PlainSite(site, factors[0], factors[1], scale))
    return tuple(sites)


def _read_layer(i: int, facts: LayerFacts, tensors: dict[str, Array]) -> PlainLayer:
    problem = BundleError(Code.BUNDLE_HEAD, f"layer {i} of osd.head does not fit its tensors")
    prefix = f"osd.head.{i}."
    bias = None
    if f"{prefix}bias" in tensors:
        bias = take(tensors, f"{prefix}bias", ("<f4",), 1)
        _check_finite(f"{prefix}bias", bias)
    if facts.rank == 0:
        weight = _read_matrix(prefix, "weight", tensors)
        layer = PlainLayer(facts.activation, bias, weight=weight)
    else:
        u = _read_matrix(prefix, "u", tensors)
        v = Matrix(_values(tensors, f"{prefix}v"))
        layer = PlainLayer(facts.activation, bias, u=u, v=v)
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
    scale = take(tensors, f"{prefix}scale", ("<f4",), 1)
    _check_scales(f"{prefix}scale", scale)
    if scale.size != values.shape[0]:
        raise BundleError(Code.BUNDLE_HEAD, f"{prefix}scale does not fit {prefix}{part}")
    return Matrix(values, scale)


def _values(tensors: dict[str, Array], name: str) -> Array:
    values = take(tensors, name, _VALUES, 2)
    _check_finite(name, values)
    return values


def _check_scales(name: str, scales: Array) -> None:
    if not (np.abs(scales) <= MAX_SCALE).all():  # NaN is not either
        raise BundleError(
            Code.BUNDLE_NOT_FINITE, f"tensor {name!r} holds NaN, or a scale beyond 2^64"
        )


def _check_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise BundleError(Code.BUNDLE_NOT_FINITE, f"tensor {name!r} holds NaN or infinity")
