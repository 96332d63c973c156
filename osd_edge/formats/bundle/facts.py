"""The facts of sites and head layers that a reader has before any value is decoded."""

from dataclasses import dataclass

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
