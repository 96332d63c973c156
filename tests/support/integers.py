"""Random integers of coded bundles: sites, and layers of a head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix, IntegerSite
from osd_edge.formats.bundle.plain import PlainSite
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.coding.scales import snap_scales

Array = NDArray[Any]


def rows(random: np.random.Generator, shape: tuple[int, int], most: int = 3) -> Array:
    """Sparse integers, each row with a non-zero."""
    made = random.integers(-most, most + 1, shape) * (random.random(shape) < random.random())
    made[:, random.integers(shape[1])] = most
    return made


def scales(random: np.random.Generator, count: int) -> Array:
    return snap_scales(np.exp(random.normal(-2, 1, count)))


def site(
    random: np.random.Generator, index: int, n: int, d: int, k: int, scale: Array
) -> IntegerSite:
    return IntegerSite(index, rows(random, (k, n)), rows(random, (k, d)), scale)


def plainly(integers: IntegerSite) -> PlainSite:
    """The site as one of float32 values."""
    u, v = integers.decode()
    return PlainSite(integers.site, PlainFactor.of(u), PlainFactor.of(v))


def layer(random: np.random.Generator, n: int, d: int, rank: int, bias: bool) -> IntegerLayer:
    row = IntegerMatrix(rows(random, (1, n), 60), scales(random, 1)) if bias else None
    if rank:
        u = IntegerMatrix(rows(random, (rank, n), 5), scales(random, rank))
        return IntegerLayer("tanh", row, u=u, v=rows(random, (rank, d)))
    return IntegerLayer(None, row, weight=IntegerMatrix(rows(random, (n, d)), scales(random, n)))
