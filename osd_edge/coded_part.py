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

from osd_edge.coded_rows import decode_rows, encode_rows
from osd_edge.errors import BundleError
from osd_edge.heads import HeadLayer
from osd_edge.integers import Floats, IntegerLayer, IntegerMatrix, Integers, IntegerSite
from osd_edge.scales import DEEPEST, LARGEST, scale_indices, scale_values

Bytes = NDArray[np.uint8]

NO_BIAS = -(1 << 15)  # in the place of a bias's scale
_VARINT_BYTES = 4


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


# One task's integers: for callers that ask for its sites one after the other, and for a task that
# is put to use as soon as it was read and checked.
_decoded = lru_cache(maxsize=1)(CodedPart.decode)


def decoded_part(part: CodedPart) -> tuple[tuple[IntegerSite, ...], tuple[IntegerLayer, ...]]:
    """`part.decode()`, or what it gave where it was the latest; keeps it for the next call."""
    return _decoded(part)


def forget_decoded() -> None:
    """Give back the memory of the integers that were decoded last."""
    _decoded.cache_clear()


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
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


AnySite = IntegerSite | CodedSite
AnyLayer = IntegerLayer | CodedLayer


def encode_part(sites: Sequence[AnySite], layers: Sequence[AnyLayer]) -> bytes:
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


def coded_size(sites: Sequence[AnySite], layers: Sequence[AnyLayer]) -> int:
    """Bytes of `osd.coded`, exact: it is coded to see."""
    return len(encode_part(sites, layers))


def _whole(sites: Sequence[AnySite], layers: Sequence[AnyLayer]) -> CodedPart | None:
    """The part of which these are all sites and layers, still coded, where there is one."""
    part = next((x.part for x in (*layers, *sites) if isinstance(x, (CodedLayer, CodedSite))), None)
    if part is None or (len(sites), len(layers)) != (len(part.sites), len(part.layers)):
        return None
    same = [
        isinstance(x, CodedSite) and (x.part, x.index) == (part, i) for i, x in enumerate(sites)
    ]
    same += [
        isinstance(x, CodedLayer) and (x.part, x.index) == (part, i) for i, x in enumerate(layers)
    ]
    return part if all(same) else None


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


_NO_BIAS_BYTES = struct.pack("<h", NO_BIAS)


class PartReader:
    """Reads `osd.coded` in the order of the bundle's checks: sites, the head's scales, rows."""

    def __init__(self, tensor: Bytes, site_count: int) -> None:
        """Read the sites.

        Raises BundleError `bundle.coded-table`, `bundle.site-order`, `bundle.site-rank`.
        """
        self._tensor = tensor
        self._at = 0
        self.sites = self._sites(site_count)

    def finish(self, layers: Sequence[LayerFacts]) -> CodedPart:
        """Read what the head needs, then decode all rows to see that they are well-formed.

        Raises BundleError `bundle.coded-table`, `bundle.coded-size`, `bundle.coded-stream`,
        `bundle.coded-zero`.
        """
        if not self.sites and not layers and self._at != self._tensor.size:
            raise _malformed("rows of neither sites nor a head")
        ready = []
        for facts in layers:
            scale = self._scales(self._top(), facts.rank or facts.shape[0])
            top = int(self._take(2).view("<i2")[0])
            bias = None if top == NO_BIAS else scale_values(np.array([self._checked(top)]))
            ready.append(LayerFacts(facts.activation, facts.shape, facts.rank, scale, bias))
        part = CodedPart(self._tensor, self._at, self.sites, tuple(ready))
        for site in _decoded(part)[0]:
            if not (site.u.any(axis=1).all() and site.v.any(axis=1).all()):
                raise BundleError(
                    "bundle.coded-zero", f"a column of the factors of site {site.site} is all zeros"
                )
        return part

    def _sites(self, site_count: int) -> tuple[SiteFacts, ...]:
        count = self._varint()
        if count > site_count:
            raise BundleError("bundle.site-order", f"{count} sites of {site_count}")
        if count == 0:
            return ()
        shapes = self._shapes(self._varint())
        rows, place, used = [], -1, 0
        for _ in range(count):
            place += 1 + self._varint()
            rank, shape = divmod(self._varint(), len(shapes))
            if place >= site_count:
                raise BundleError("bundle.site-order", f"site {place} of {site_count}")
            if rank >= min(shapes[shape]):
                n, d = shapes[shape]
                raise BundleError(
                    "bundle.site-rank", f"site {place} has rank {rank + 1} for [{n}, {d}]"
                )
            if shape > used:
                raise _malformed("a shape before its turn")
            used = max(used, shape + 1)
            rows.append((place, *shapes[shape], rank + 1))
        if used != len(shapes):
            raise _malformed("a shape of no site")
        scales = self._scales(self._top(), sum(row[3] for row in rows))
        ends = np.cumsum([row[3] for row in rows])
        return tuple(
            SiteFacts(*row, scale)
            for row, scale in zip(rows, np.split(scales, ends[:-1]), strict=True)
        )

    def _shapes(self, count: int) -> list[tuple[int, int]]:
        # A dict, since looking through a list of many shapes would take a hostile file's time.
        shapes: dict[tuple[int, int], None] = {}
        for _ in range(count):
            shape = (self._varint(), self._varint())
            if not all(0 < x < 1 << 16 for x in shape) or shape in shapes:
                raise _malformed(f"the shape {list(shape)}")
            shapes[shape] = None
        if not shapes:
            raise _malformed("no shapes")
        return list(shapes)

    def _take(self, count: int) -> Bytes:
        if count > self._tensor.size - self._at:
            raise _malformed("it ends too early")
        self._at += count
        return self._tensor[self._at - count : self._at]

    def _varint(self) -> int:
        number = 0
        for i in range(_VARINT_BYTES):
            byte = int(self._take(1)[0])
            number |= (byte & 127) << 7 * i
            if byte < 128:
                if i and not byte:
                    break
                return number
        raise _malformed("a number is not in its shortest form")

    def _top(self) -> int:
        return self._checked(int(self._take(2).view("<i2")[0]))

    def _checked(self, top: int) -> int:
        if not DEEPEST - LARGEST <= top <= LARGEST:
            raise _malformed(f"a scale of 2^({top}/16)")
        return top

    def _scales(self, top: int, count: int) -> Floats:
        below = self._take(count)
        if below.min() != 0:
            raise _malformed("no scale is the largest")
        return scale_values(top - below.astype(np.int64))


def _malformed(what: str) -> BundleError:
    return BundleError("bundle.coded-table", f"the table of osd.coded is malformed: {what}")
