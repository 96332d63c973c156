"""The facts of sites and head layers that a reader has before any value is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from osd_edge.formats.bundle.integers import Floats


@dataclass(frozen=True)
class SiteFacts:
    """A site before its integers are decoded: site index, shape, rank and `scale` `[k]`."""

    site: int
    n: int
    d: int
    k: int
    scale: Floats


@dataclass(frozen=True)
class LayerFacts:
    """A head's layer before its values are decoded: activation, shape, rank and scales.

    `scale` is `[n]`, or `[k]` where rank k > 0; `bias_scale` `[1]` or None.
    """

    activation: str | None
    shape: tuple[int, int]
    rank: int
    scale: Floats | None = None
    bias_scale: Floats | None = None


class SizedSite(Protocol):
    """A site of any form, whose rank and shape are known."""

    @property
    def n(self) -> int:
        """Outputs of the layer."""

    @property
    def d(self) -> int:
        """Inputs of the layer."""

    @property
    def k(self) -> int:
        """Rank of the factors."""


class SizedLayer(Protocol):
    """A head's layer of any form, whose rank and shape are known."""

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the layer."""

    @property
    def rank(self) -> int:
        """Rank of the factors, 0 for a full matrix."""


def count_slots(sites: Iterable[SizedSite], layers: Iterable[SizedLayer]) -> int:
    """Counts the elements of factors and of the head's matrices, zero or not."""
    slots = sum(site.k * (site.n + site.d) for site in sites)
    for layer in layers:
        n, d = layer.shape
        slots += layer.rank * (n + d) if layer.rank else n * d
    return slots
