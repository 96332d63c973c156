"""Bounds what a bundle may make a reader allocate by the bytes that it has."""

from collections.abc import Iterable
from typing import Protocol

from osd_edge.errors import BundleError, Code
from osd_edge.formats.limits import SLOTS_PER_BYTE


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


def check_slots(
    size: int, sites: Iterable[SizedSite], layers: Iterable[SizedLayer], vectors: int
) -> None:
    """Refuses a file of `size` bytes whose factors, head and vectors have too many elements.

    `vectors` is the number of those of all vectors. Raises BundleError `bundle.slots`.
    """
    slots = vectors + sum(site.k * (site.n + site.d) for site in sites)
    for layer in layers:
        n, d = layer.shape
        slots += layer.rank * (n + d) if layer.rank else n * d
    if slots > SLOTS_PER_BYTE * size:
        raise BundleError(
            Code.BUNDLE_SLOTS,
            f"{slots} slots in {size} bytes, expected at most {SLOTS_PER_BYTE} for each byte: "
            "such a task needs more bytes, or fewer columns",
        )
