"""The tensor `osd.coded`: all factors and head layers of a bundle as coded integers.

`docs/bundle-format.md` has the layout: sites, scales, the head's scales, then the coded rows.
`coded_writer` makes the tensor, `coded_reader` checks it. A tensor that was read stays coded, a few
facts apart, until it is decoded as a whole.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.facts import LayerFacts, SiteFacts
from osd_edge.formats.bundle.integers import Floats, IntegerLayer, IntegerMatrix, IntegerSite
from osd_edge.formats.coding.rows import decode_rows
from osd_edge.formats.heads import HeadLayer

Bytes = NDArray[np.uint8]

NO_BIAS = -(1 << 15)  # stands where a bias has the grid index of its scale


@dataclass(frozen=True, eq=False)
class CodedPart:
    """The whole `tensor` `osd.coded`, checked; `rows` is the byte where its coded rows begin."""

    tensor: Bytes
    rows: int
    sites: tuple[SiteFacts, ...]
    layers: tuple[LayerFacts, ...]

    def decode(self) -> tuple[tuple[IntegerSite, ...], tuple[IntegerLayer, ...]]:
        """Decodes all sites and head layers to integers; raises BundleError as `decode_rows`."""
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
        """Gives every site and head layer without decoding it."""
        sites = tuple(CodedSite(self, i) for i in range(len(self.sites)))
        return sites, tuple(CodedLayer(self, i) for i in range(len(self.layers)))


# One task's integers: for callers that ask for its sites one after the other, and for a task that
# is put to use as soon as it was read and checked.
_decoded = lru_cache(maxsize=1)(CodedPart.decode)


def decoded_part(part: CodedPart) -> tuple[tuple[IntegerSite, ...], tuple[IntegerLayer, ...]]:
    """Gives `part.decode()`, which is kept until another part is decoded."""
    return _decoded(part)


def forget_decoded() -> None:
    """Gives back the memory of the integers that were decoded last."""
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
        """Index in the base's site table."""
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
        """Decodes the site's integers."""
        return _decoded(self.part)[0][self.index]

    def decode(self) -> tuple[Floats, Floats]:
        """Decodes U as `[k, n]`, scales applied, and V as `[k, d]`, both float32."""
        return self.integers().decode()

    def write(self, u: Floats, v: Floats) -> None:
        """Decodes to `u` `[k, n]` and, transposed, to `v` `[d, k]`."""
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
        """Decodes the layer's integers."""
        return _decoded(self.part)[1][self.index]

    def decode(self) -> HeadLayer:
        """Decodes the layer to float32 values."""
        return self.integers().decode()
