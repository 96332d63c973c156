"""Writes the tensors `osd.coded` and `osd.vectors`: small integers near their entropy."""

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from osd_edge.formats.bundle.coded import NO_BIAS, CodedLayer, CodedPart, CodedSite
from osd_edge.formats.bundle.integers import IntegerArray, IntegerLayer, IntegerSite
from osd_edge.formats.bundle.table_bytes import scale_bytes, varint_bytes
from osd_edge.formats.bundle.vectors import VectorDelta
from osd_edge.formats.coding.rows import encode_rows

_NO_BIAS_BYTES = struct.pack("<h", NO_BIAS)

CodableSite = IntegerSite | CodedSite
CodableLayer = IntegerLayer | CodedLayer


def encode_part(sites: Sequence[CodableSite], layers: Sequence[CodableLayer]) -> bytes:
    """Codes all sites, by ascending index, and head layers as the bytes of `osd.coded`.

    Raises ValueError where a scale is off the grid, a row of a factor is all zeros, or an
    integer is above 65,552.
    """
    whole = _whole(sites, layers)
    if whole is not None:
        return whole.tensor.tobytes()
    ready = [site.integers() for site in sites]
    head = [layer.integers() for layer in layers]
    for site in ready:
        if not (site.u.any(axis=1).all() and site.v.any(axis=1).all()):
            raise ValueError(f"a column of site {site.site} is all zeros: leave it out")
    table = varint_bytes(len(ready))
    if ready:
        table += _site_table(ready) + scale_bytes(np.concatenate([site.scale for site in ready]))
    for layer in head:
        matrix = layer.u or layer.weight
        assert matrix is not None
        table += scale_bytes(matrix.scale)
        table += _NO_BIAS_BYTES if layer.bias is None else scale_bytes(layer.bias.scale)[:2]
    blocks: list[IntegerArray] = [block for site in ready for block in (site.u, site.v)]
    blocks += [block for layer in head for block in layer.matrices]
    return table + (encode_rows(blocks) if blocks else b"")


def _whole(sites: Sequence[CodableSite], layers: Sequence[CodableLayer]) -> CodedPart | None:
    """The part of which these are all sites and layers, still coded, where there is one."""
    part = next((x.part for x in (*layers, *sites) if isinstance(x, (CodedLayer, CodedSite))), None)
    same = part is not None and (tuple(sites), tuple(layers)) == part.coded()
    return part if same else None


def _site_table(sites: Sequence[IntegerSite]) -> bytes:
    shapes = list(dict.fromkeys((site.n, site.d) for site in sites))
    table = varint_bytes(len(shapes))
    table += b"".join(varint_bytes(n) + varint_bytes(d) for n, d in shapes)
    for previous, site in pairwise([None, *sites]):
        assert site is not None
        gap = site.site - (previous.site + 1 if previous else 0)
        rank = (site.k - 1) * len(shapes) + shapes.index((site.n, site.d))
        table += varint_bytes(gap) + varint_bytes(rank)
    return table


def encode_vectors(vectors: Sequence[VectorDelta]) -> bytes:
    """Codes vectors, by ascending index and at least one, as the bytes of `osd.vectors`.

    Raises ValueError where a vector is all zeros, out of order, or its scale is off the grid.
    """
    table = varint_bytes(len(vectors))
    before = -1
    for each in vectors:
        if each.vector <= before or not each.codes.any():
            raise ValueError(f"vector {each.vector} is out of order or all zeros")
        table += varint_bytes(each.vector - 1 - before) + varint_bytes(each.codes.size)
        before = each.vector
    scales = np.array([each.scale for each in vectors], np.float32)
    return table + scale_bytes(scales) + encode_rows([each.codes[None] for each in vectors])
