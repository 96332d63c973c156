"""Writes a bundle anew with other integers or values, so that mutants are valid to the last bit."""

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from osd_edge.errors import OsdEdgeError
from osd_edge.formats.bundle.integers import IntegerSite
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.plain import PlainSite
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.coding.scales import snap_scales

_INTEGERS = (-65552, -18, -17, -16, -2, -1, 0, 1, 2, 3, 16, 17, 18, 127, 128, 32767, 65552, 65553)


def rewrite(noise: Random, data: bytes) -> bytes | None:
    """Gives the bundle with some elements changed, None where it is none that can be written."""
    try:
        bundle = read_bundle(data).decoded()
        return write_bundle(replace(bundle, sites=_sites(noise, bundle)))
    except (OsdEdgeError, ValueError):
        return None


def _sites(noise: Random, bundle: Bundle) -> tuple[Any, ...]:
    sites: list[Any] = list(bundle.sites)
    if not sites:
        return ()
    at = noise.randrange(len(sites))
    site = sites[at]
    if noise.random() < 0.1:
        del sites[at]
    elif isinstance(site, IntegerSite):
        scale = site.scale
        if noise.random() < 0.5:
            scale = snap_scales(scale * np.float32(noise.choice((0.5, 3, 1e18, -1))))
        u, v = _changed(noise, site.u), _changed(noise, site.v)
        sites[at] = replace(site, u=u, v=v, scale=scale)
    elif isinstance(site, PlainSite) and site.n * site.k + site.d * site.k < 1 << 14:
        factors = (_refilled(noise, factor) for factor in (site.u, site.v))
        sites[at] = replace(site, u=next(factors), v=next(factors))
    return tuple(sites)


def _changed(noise: Random, integers: Any) -> Any:
    result = integers.astype(np.int64)
    for _ in range(noise.choice((1, 3, 9))):
        row, column = (noise.randrange(size) for size in result.shape)
        result[row, column] = noise.choice(_INTEGERS)
    return result


def _refilled(noise: Random, factor: PlainFactor) -> PlainFactor:
    dense = np.zeros((factor.k, factor.width), factor.values.dtype)
    share = noise.choice((0.0, 0.02, 0.1, 0.5, 1.0))
    chosen = np.random.default_rng(noise.getrandbits(32)).random(dense.shape) < share
    dense[chosen] = noise.choice((1, 2, -1))
    return PlainFactor.of(dense)
