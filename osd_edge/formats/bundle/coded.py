"""The tensor `osd.coded`: all factors and head layers of a bundle as coded integers.

`docs/bundle-format.md` has the layout: sites, scales, the head's scales, then the coded rows.
What is read stays coded, a few facts apart, until it is decoded as a whole.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.integers import (
    Floats,
    IntegerLayer,
    IntegerMatrix,
    Integers,
    IntegerSite,
)
from osd_edge.formats.coding.rows import decode_rows, encode_rows
from osd_edge.formats.coding.scales import scale_indices, scale_values
from osd_edge.formats.heads import HeadLayer

Bytes = NDArray[np.uint8]

NO_BIAS = -(1 << 15)  # in the place of a bias's scale
_NO_BIAS_BYTES = struct.pack("<h", NO_BIAS)


@dataclass(frozen=True)
class SiteFacts:
    """What is known of a site before its integers are decoded; `scale` is `[k]`."""

    site: int
    n: int
    d: int
    k: int
    scale: Floats


@dataclass(frozen=True)
class LayerFacts:
    """What is known of a head's layer before its integers are decoded.

    `scale` is `[n]`, or `[k]` where rank k > 0; `bias_scale` `[1]` or None.
    """

    activation: str | None
    shape: tuple[int, int]
    rank: int
    scale: Floats | None = None
    bias_scale: Floats | None = None


@dataclass(frozen=True, eq=False)
class CodedPart:
    """All of `tensor` (`osd.coded`), checked; `rows` is where its coded rows begin."""

    tensor: Bytes
    rows: int
    sites: tuple[SiteFacts, ...]
    layers: tuple[LayerFacts, ...]

    def decode(self) -> tuple[tuple[IntegerSite, ...], tuple[IntegerLayer, ...]]:
        """Every site and every layer of the head. Raises BundleError as `decode_rows` does."""
        shapes = [shape for s in self.sites for shape in ((s.k, s.n), (s.k, s.d))]
        for facts in self.layers:
            n, d = facts.shape
            shapes += [(facts.rank, n), (facts.rank, d)] if facts.rank else [(n, d)]
            shapes += [] if facts.bias_scale is None else [(1, n)]
        if not shapes:
            return (), ()
        blocks = iter(decode_rows(self.tensor[self.rows :], shapes))
        sites = tuple(IntegerSite(s.site, next(blocks), next(blocks), s.scale) for s in self.sites)
        layers = []
        for facts in self.layers:
            assert facts.scale is not None
            first = IntegerMatrix(next(blocks), facts.scale)
            v = next(blocks) if facts.rank else None
            bias = None
            if facts.bias_scale is not None:
                bias = IntegerMatrix(next(blocks), facts.bias_scale)
            if facts.rank:
                layers.append(IntegerLayer(facts.activation, bias, u=first, v=v))
            else:
                layers.append(IntegerLayer(facts.activation, bias, weight=first))
        return sites, tuple(layers)

    def coded(self) -> "tuple[tuple[CodedSite, ...], tuple[CodedLayer, ...]]":
        """Every site and every layer of the head, not decoded."""
        sites = tuple(CodedSite(self, i) for i in range(len(self.sites)))
        return sites, tuple(CodedLayer(self, i) for i in range(len(self.layers)))


# One task's integers: for callers that ask for its sites one after the other, and for a task that
# is put to use as soon as it was read and checked.
_decoded = lru_cache(maxsize=1)(CodedPart.decode)


def decoded_part(part: CodedPart) -> tuple[tuple[IntegerSite, ...], tuple[IntegerLayer, ...]]:
    """`part.decode()`, or what it gave where it was the latest; keeps it for the next call."""
    return _decoded(part)


def forget_decoded() -> None:
    """Give back the memory of the integers that were decoded last."""
    _decoded.cache_clear()


@dataclass(frozen=True)
class CodedSite:
    """A site of a bundle that was read: coded, in `part`, until `decode` is called.

    All sites of a part are coded together, so `CodedPart.decode` gives them in one go.
    """

    part: CodedPart
    index: int

    @property
    def site(self) -> int:
        """Place in the base's site table."""
        return self.part.sites[self.index].site

    @property
    def n(self) -> int:
        """Outputs of the layer."""
        return self.part.sites[self.index].n

    @property
    def d(self) -> int:
        """Inputs of the layer."""
        return self.part.sites[self.index].d

    @property
    def k(self) -> int:
        """Rank of the factors."""
        return self.part.sites[self.index].k

    def integers(self) -> IntegerSite:
        """The site's integers."""
        return _decoded(self.part)[0][self.index]

    def decode(self) -> tuple[Floats, Floats]:
        """U as `[k, n]`, scales applied, and V as `[k, d]`."""
        return self.integers().decode()

    def write(self, u: Floats, v: Floats) -> None:
        """Decode to `u` `[k, n]` and, transposed, to `v` `[d, k]`."""
        self.integers().write(u, v)


@dataclass(frozen=True)
class CodedLayer:
    """A head's layer of a bundle that was read: coded, in `part`, until `decode` is called."""

    part: CodedPart
    index: int

    @property
    def activation(self) -> str | None:
        """Name of the activation, None for none."""
        return self.part.layers[self.index].activation

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs n and inputs d of the layer."""
        return self.part.layers[self.index].shape

    @property
    def rank(self) -> int:
        """Rank of the factors, 0 for a full matrix."""
        return self.part.layers[self.index].rank

    def integers(self) -> IntegerLayer:
        """The layer's integers."""
        return _decoded(self.part)[1][self.index]

    def decode(self) -> HeadLayer:
        """The layer with float32 values."""
        return self.integers().decode()


CodableSite = IntegerSite | CodedSite
CodableLayer = IntegerLayer | CodedLayer


def encode_part(sites: Sequence[CodableSite], layers: Sequence[CodableLayer]) -> bytes:
    """The bytes of `osd.coded`, sites by ascending place.

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
    table = _varint(len(ready))
    if ready:
        table += _site_table(ready) + _scales(np.concatenate([site.scale for site in ready]))
    for layer in head:
        matrix = layer.u or layer.weight
        assert matrix is not None
        table += _scales(matrix.scale)
        table += _NO_BIAS_BYTES if layer.bias is None else _scales(layer.bias.scale)[:2]
    blocks: list[Integers] = [block for site in ready for block in (site.u, site.v)]
    blocks += [block for layer in head for block in layer.matrices]
    return table + (encode_rows(blocks) if blocks else b"")


def coded_size(sites: Sequence[CodableSite], layers: Sequence[CodableLayer]) -> int:
    """Bytes of `osd.coded`, exact: it is coded to see."""
    return len(encode_part(sites, layers))


def _whole(sites: Sequence[CodableSite], layers: Sequence[CodableLayer]) -> CodedPart | None:
    """The part of which these are all sites and layers, still coded, where there is one."""
    part = next((x.part for x in (*layers, *sites) if isinstance(x, (CodedLayer, CodedSite))), None)
    same = part is not None and (tuple(sites), tuple(layers)) == part.coded()
    return part if same else None


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first; the top bit says that more follow."""
    result = b""
    while number >= 128:
        result += bytes([128 | number & 127])
        number >>= 7
    return result + bytes([number])


def _site_table(sites: Sequence[IntegerSite]) -> bytes:
    shapes = list(dict.fromkeys((site.n, site.d) for site in sites))
    table = _varint(len(shapes))
    table += b"".join(_varint(n) + _varint(d) for n, d in shapes)
    for previous, site in pairwise([None, *sites]):
        assert site is not None
        gap = site.site - (previous.site + 1 if previous else 0)
        rank = (site.k - 1) * len(shapes) + shapes.index((site.n, site.d))
        table += _varint(gap) + _varint(rank)
    return table


def _scales(scales: Floats) -> bytes:
    """The largest place on the grid, 16 bits, and how far each scale lies below it, 8 bits."""
    indices = scale_indices(scales)
    if not np.array_equal(scale_values(indices), scales):
        raise ValueError("scales are not on the grid: see snap_scales")
    top = int(indices.max())
    return struct.pack("<h", top) + bytes((top - indices).tolist())
