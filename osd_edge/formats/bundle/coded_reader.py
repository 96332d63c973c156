"""Reads the tensor `osd.coded`, which may be damaged or hostile."""

from dataclasses import replace

import numpy as np

from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.coded import (
    NO_BIAS,
    CodedLayer,
    CodedPart,
    CodedSite,
    decoded_part,
)
from osd_edge.formats.bundle.facts import LayerFacts, SiteFacts
from osd_edge.formats.bundle.model import CODED
from osd_edge.formats.bundle.table_bytes import Bytes, TableReader
from osd_edge.formats.coding.scales import scale_values
from osd_edge.formats.limits import MAX_DIMENSION


class CodedReader:
    """Reads `osd.coded` in the order of the bundle's checks: sites, the head's scales, rows."""

    values = CODED

    def __init__(self, tensor: Bytes, site_count: int) -> None:
        """Reads the `sites`, still coded.

        Raises BundleError `bundle.coded-table`, `bundle.site-order`, `bundle.site-rank`.
        """
        self._table = TableReader(tensor, "osd.coded")
        self.sites = self._read_sites(site_count)
        self._layers: list[LayerFacts] = []

    def add_layer(self, facts: LayerFacts) -> None:
        """Takes the description of the head's next layer; its scales are read at the end."""
        self._layers.append(facts)

    def finish(self) -> tuple[tuple[CodedSite, ...], tuple[CodedLayer, ...]]:
        """Reads the head's scales, then decodes all rows to see that they are well-formed.

        Raises BundleError `bundle.coded-table`, `bundle.coded-size`, `bundle.coded-stream`,
        `bundle.coded-zero`.
        """
        if not self.sites and not self._layers and self._table.at != self._table.tensor.size:
            raise self._table.malformed("rows of neither sites nor a head")
        layers = tuple(map(self._scaled, self._layers))
        part = CodedPart(self._table.tensor, self._table.at, self.sites, layers)
        for site in decoded_part(part)[0]:
            if not (site.u.any(axis=1).all() and site.v.any(axis=1).all()):
                raise BundleError(
                    Code.BUNDLE_CODED_ZERO,
                    f"a column of the factors of site {site.site} is all zeros",
                )
        return part.coded()

    def _scaled(self, facts: LayerFacts) -> LayerFacts:
        """The description of a layer with the scales that stand here."""
        scale = self._table.scales(facts.rank or facts.shape[0])
        index = self._table.int16()
        bias = None if index == NO_BIAS else scale_values(np.array([self._table.index(index)]))
        return replace(facts, scale=scale, bias_scale=bias)

    def _read_sites(self, site_count: int) -> tuple[SiteFacts, ...]:
        count = self._table.varint()
        if count > site_count:
            raise BundleError(Code.BUNDLE_SITE_ORDER, f"{count} sites of {site_count}")
        if count == 0:
            return ()
        shapes = self._shapes(self._table.varint())
        rows, site, used = [], -1, 0
        for _ in range(count):
            site += 1 + self._table.varint()
            if site >= site_count:
                raise BundleError(Code.BUNDLE_SITE_ORDER, f"site {site} of {site_count}")
            rank, shape = divmod(self._table.varint(), len(shapes))
            if rank >= min(shapes[shape]):
                n, d = shapes[shape]
                raise BundleError(
                    Code.BUNDLE_SITE_RANK, f"site {site} has rank {rank + 1} for [{n}, {d}]"
                )
            if shape > used:
                raise self._table.malformed("a shape before its turn")
            used = max(used, shape + 1)
            rows.append((site, *shapes[shape], rank + 1))
        if used != len(shapes):
            raise self._table.malformed("a shape of no site")
        scales = self._table.scales(sum(row[3] for row in rows))
        ends = np.cumsum([row[3] for row in rows])
        return tuple(
            SiteFacts(*row, scale)
            for row, scale in zip(rows, np.split(scales, ends[:-1]), strict=True)
        )

    def _shapes(self, count: int) -> list[tuple[int, int]]:
        # A dict, since looking through a list of many shapes would take a hostile file's time.
        shapes: dict[tuple[int, int], None] = {}
        for _ in range(count):
            shape = (self._table.varint(), self._table.varint())
            if not all(1 <= x <= MAX_DIMENSION for x in shape) or shape in shapes:
                raise self._table.malformed(f"the shape {list(shape)}")
            shapes[shape] = None
        if not shapes:
            raise self._table.malformed("no shapes")
        return list(shapes)
