"""Reads the tensor `osd.coded`, which may be damaged or hostile."""

from dataclasses import replace

import numpy as np

from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.coded import (
    NO_BIAS,
    Bytes,
    CodedLayer,
    CodedPart,
    CodedSite,
    decoded_part,
)
from osd_edge.formats.bundle.facts import LayerFacts, SiteFacts
from osd_edge.formats.bundle.integers import Floats
from osd_edge.formats.bundle.model import CODED
from osd_edge.formats.coding.scales import DEEPEST, LARGEST, scale_values

_VARINT_BYTES = 4


class CodedReader:
    """Reads `osd.coded` in the order of the bundle's checks: sites, the head's scales, rows."""

    values = CODED

    def __init__(self, tensor: Bytes, site_count: int) -> None:
        """Reads the sites.

        Raises BundleError `bundle.coded-table`, `bundle.site-order`, `bundle.site-rank`.
        """
        self._tensor = tensor
        self._at = 0
        self._sites = self._read_sites(site_count)
        self._layers: list[LayerFacts] = []

    def add_layer(self, facts: LayerFacts) -> None:
        """Takes the description of the head's next layer; its scales are read at the end."""
        self._layers.append(facts)

    def finish(self) -> tuple[tuple[CodedSite, ...], tuple[CodedLayer, ...]]:
        """Reads the head's scales, then decodes all rows to see that they are well-formed.

        Raises BundleError `bundle.coded-table`, `bundle.coded-size`, `bundle.coded-stream`,
        `bundle.coded-zero`.
        """
        if not self._sites and not self._layers and self._at != self._tensor.size:
            raise _malformed("rows of neither sites nor a head")
        layers = tuple(map(self._scaled, self._layers))
        part = CodedPart(self._tensor, self._at, self._sites, layers)
        for site in decoded_part(part)[0]:
            if not (site.u.any(axis=1).all() and site.v.any(axis=1).all()):
                raise BundleError(
                    Code.BUNDLE_CODED_ZERO,
                    f"a column of the factors of site {site.site} is all zeros",
                )
        return part.coded()

    def _scaled(self, facts: LayerFacts) -> LayerFacts:
        """The description of a layer with the scales that stand here."""
        scale = self._scales(self._top(), facts.rank or facts.shape[0])
        top = int(self._take(2).view("<i2")[0])
        bias = None if top == NO_BIAS else scale_values(np.array([self._checked(top)]))
        return replace(facts, scale=scale, bias_scale=bias)

    def _read_sites(self, site_count: int) -> tuple[SiteFacts, ...]:
        count = self._varint()
        if count > site_count:
            raise BundleError(Code.BUNDLE_SITE_ORDER, f"{count} sites of {site_count}")
        if count == 0:
            return ()
        shapes = self._shapes(self._varint())
        rows, site, used = [], -1, 0
        for _ in range(count):
            site += 1 + self._varint()
            rank, shape = divmod(self._varint(), len(shapes))
            if site >= site_count:
                raise BundleError(Code.BUNDLE_SITE_ORDER, f"site {site} of {site_count}")
            if rank >= min(shapes[shape]):
                n, d = shapes[shape]
                raise BundleError(
                    Code.BUNDLE_SITE_RANK, f"site {site} has rank {rank + 1} for [{n}, {d}]"
                )
            if shape > used:
                raise _malformed("a shape before its turn")
            used = max(used, shape + 1)
            rows.append((site, *shapes[shape], rank + 1))
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
    return BundleError(Code.BUNDLE_CODED_TABLE, f"the table of osd.coded is malformed: {what}")
