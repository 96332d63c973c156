"""The parts of the vectors: a base, and seeded factors, layers and bundles."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix, IntegerSite
from osd_edge.formats.bundle.model import (
    Bundle,
    StoredHead,
    StoredLayer,
    StoredSite,
)
from osd_edge.formats.bundle.plain import (
    VALUE_TYPES,
    Matrix,
    PlainLayer,
    PlainSite,
)
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.formats.package.sites import Site

Array = NDArray[Any]

BASE = hashlib.sha256(b"base of the vectors").hexdigest()
OTHER_BASE = hashlib.sha256(b"another base").hexdigest()
MANIFEST = BaseManifest(
    family="bert",
    fingerprint=BASE,
    hidden_size=8,
    inputs=("input_ids", "attention_mask"),
    hidden_output="last_hidden_state",
    pooler_output=None,
    sites=(
        Site("layer.0.query", 6, 8, "layer.0.query.u", "layer.0.query.v"),
        Site("layer.0.key", 8, 8, "layer.0.key.u", "layer.0.key.v"),
        Site("layer.0.value", 5, 7, "layer.0.value.u", "layer.0.value.v"),
        Site("layer.0.output", 8, 6),
    ),
)


@dataclass(frozen=True)
class Delta:
    """A site's factors before coding: `u` `[k, n]`, `v` `[k, d]` as stored, `scale` `[k]`."""

    site: int
    u: Array
    v: Array
    scale: Array | None = None


def random_array(seed: int, shape: tuple[int, ...], values: str = "fp32", count: int = -1) -> Array:
    """An array with `count` non-zeros (all, unless told) in random slots."""
    random = np.random.RandomState(seed)  # its stream is frozen for good
    size = math.prod(shape)
    count = size if count < 0 else count
    numbers = random.randint(1, 128, count) * random.choice([-1, 1], count)
    flat = np.zeros(size, VALUE_TYPES[values])
    flat[random.permutation(size)[:count]] = numbers if values == "int8" else numbers / 96
    return flat.reshape(shape)


def random_delta(
    site: int, n: int, d: int, k: int, counts: tuple[int, int], values: str = "fp32"
) -> Delta:
    """A site of random factors with `counts` non-zeros in U and V."""
    seed = 1000 * site + n + d + k
    scale = None
    if values == "int8":
        scale = (np.random.RandomState(seed).randint(-99, 99, k) / 1000).astype(np.float32)
    return Delta(
        site,
        random_array(seed, (k, n), values, counts[0]),
        random_array(seed + 1, (k, d), values, counts[1]),
        scale,
    )


def random_layer(
    n: int, d: int, activation: str | None = None, *, rank: int = 0, values: str = "fp32"
) -> PlainLayer:
    """A layer of random values with a bias; int8 scales of a low-rank one go with `u` only."""

    def matrix(seed: int, rows: int, columns: int, *, scaled: bool = True) -> Matrix:
        if values != "int8" or not scaled:
            return Matrix(random_array(seed, (rows, columns), values))
        scale = (np.arange(rows) - 0.4).astype(np.float32) / np.float32(300)
        return Matrix(random_array(seed, (rows, columns), values), scale)

    bias = random_array(n, (n,))
    if rank == 0:
        return PlainLayer(activation, bias, weight=matrix(7, n, d))
    return PlainLayer(activation, bias, u=matrix(8, rank, n), v=matrix(9, rank, d, scaled=False))


def grid_scales(rows: int, top: int) -> Array:
    """Scales 2^(i/16) from i = `top` downwards; i mod 16 is 0, 8 or 12.

    Only steps that are written out here, so that the reader's table is not its own witness.
    """
    step = {0: 1.0, 8: 1.4142135381698608, 12: 1.6817928552627563}
    wanted = [top - i * min(7, 200 // rows) for i in range(rows)]
    near = [next(j for j in range(i, i - 16, -1) if j % 16 in step) for i in wanted]
    return np.array([step[j % 16] * 2.0 ** (j // 16) for j in near], np.float32)


def integers(seed: int, shape: tuple[int, int], density: float, largest: int = 3) -> Array:
    """Random integers, each row with a non-zero; a few as large as `largest`."""
    random = np.random.RandomState(seed)
    size = 1 + (random.rand(*shape) < 0.3) * random.randint(0, largest, shape)
    codes = (random.rand(*shape) < density) * size * random.choice([-1, 1], shape)
    codes[np.arange(shape[0]), random.randint(0, shape[1], shape[0])] = largest
    result: Array = codes.astype(np.int32)
    return result


def integer_delta(
    site: int,
    shape: tuple[int, int],
    k: int,
    density: float = 0.3,
    largest: int = 3,
    top: int = -84,
) -> Delta:
    """A site of random integers, with scales from 2^(`top`/16) downwards."""
    n, d = shape
    seed = 1000 * site + n + d + k
    u, v = (integers(seed + i, (k, m), density, largest) for i, m in enumerate((n, d)))
    return Delta(site, u, v, grid_scales(k, top))


def integer_layer(
    n: int,
    d: int,
    activation: str | None = None,
    *,
    rank: int = 0,
    bias: bool = True,
    largest: int = 7,
) -> IntegerLayer:
    """A layer of random integers."""
    row = IntegerMatrix(integers(n, (1, n), 0.9, 40), grid_scales(1, -120)) if bias else None
    if rank == 0:
        weight = IntegerMatrix(integers(7, (n, d), 0.6, largest), grid_scales(n, -78))
        return IntegerLayer(activation, row, weight=weight)
    u = IntegerMatrix(integers(8, (rank, n), 0.6, largest), grid_scales(rank, -90))
    return IntegerLayer(activation, row, u=u, v=integers(9, (rank, d), 0.6, largest))


def head_of(*layers: StoredLayer, pooling: str = "cls") -> StoredHead:
    """A head of `layers`; without any, one that gives two labels from eight features."""
    return StoredHead("labels", pooling, layers or (random_layer(2, 8),))


def _integer_site(delta: Delta) -> StoredSite:
    assert delta.scale is not None
    return IntegerSite(delta.site, delta.u, delta.v, delta.scale)


def _stored_site(delta: Delta) -> StoredSite:
    return PlainSite(delta.site, PlainFactor.of(delta.u), PlainFactor.of(delta.v), delta.scale)


def bundle_of(*deltas: Delta, values: str = "fp32", **fields: Any) -> Bundle:
    """A bundle of `deltas`, made for no base of ours unless `fields` says so."""
    sites = tuple(map(_integer_site if values == "coded" else _stored_site, deltas))
    given: dict[str, Any] = {
        "task": "vectors",
        "task_version": "1",
        "labels": ("no", "yes"),
        "base": OTHER_BASE,
        "site_count": 4,
        "head": head_of(),
        "tool": "vectors",
    }
    return Bundle(values=values, sites=sites, **(given | fields))
