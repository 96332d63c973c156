"""Factors and head layers as small integers with scales, which a coded bundle holds.

Scales are those that `osd_edge.formats.coding.scales.snap_scales` gives; the writer refuses others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.heads import HeadLayer

IntegerArray = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class IntegerMatrix:
    """A matrix of integers `codes` `[rows, width]`, each row with its `scale` `[rows]`."""

    codes: IntegerArray
    scale: Floats

    def decoded(self) -> Floats:
        """Gives float32(codes) · scale, `[rows, width]`."""
        values: Floats = self.codes.astype(np.float32)
        values *= self.scale[:, None]
        return values


@dataclass(frozen=True)
class IntegerSite:
    """Factors of one site: ΔW = Σⱼ scaleⱼ uⱼ vⱼᵀ, `[n, d]`, of integers `u` `[k, n]`, `v` `[k, d]`.

    `site` is the index in the base's site table. No row of `u` or `v` is all zeros.
    """

    site: int
    u: IntegerArray
    v: IntegerArray
    scale: Floats

    @property
    def n(self) -> int:
        """Outputs of the layer."""
        return int(self.u.shape[1])

    @property
    def d(self) -> int:
        """Inputs of the layer."""
        return int(self.v.shape[1])

    @property
    def k(self) -> int:
        """Rank of the factors."""
        return int(self.u.shape[0])

    def integers(self) -> "IntegerSite":
        """Gives itself, as a site that is still coded gives its integers."""
        return self

    def decode(self) -> tuple[Floats, Floats]:
        """Gives U as `[k, n]`, scales applied, and V as `[k, d]`, both float32."""
        return IntegerMatrix(self.u, self.scale).decoded(), self.v.astype(np.float32)

    def write(self, u: Floats, v: Floats) -> None:
        """Writes U to `u` `[k, n]`, scales applied, and V, transposed, to `v` `[d, k]`."""
        u[:] = self.u
        u *= self.scale[:, None]
        v[:] = self.v.T


@dataclass(frozen=True)
class IntegerLayer:
    """A head's layer: `weight` `[n, d]`, a scale a row; or `u` `[k, n]`, a scale a row, and `v`.

    `v` is `[k, d]`, without scales; `bias` one row `[1, n]` with one scale, or None.
    """

    activation: str | None
    bias: IntegerMatrix | None = None
    weight: IntegerMatrix | None = None
    u: IntegerMatrix | None = None
    v: IntegerArray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs n and inputs d of the layer."""
        if self.weight is not None:
            return int(self.weight.codes.shape[0]), int(self.weight.codes.shape[1])
        assert self.u is not None and self.v is not None
        return int(self.u.codes.shape[1]), int(self.v.shape[1])

    @property
    def rank(self) -> int:
        """Rank of the factors, 0 for a full matrix."""
        return 0 if self.u is None else int(self.u.codes.shape[0])

    @property
    def matrices(self) -> tuple[IntegerArray, ...]:
        """All integers of the layer in their order in the file: weight, or u and v; bias."""
        if self.weight is not None:
            parts = [self.weight.codes]
        else:
            assert self.u is not None and self.v is not None
            parts = [self.u.codes, self.v]
        return (*parts,) if self.bias is None else (*parts, self.bias.codes)

    def integers(self) -> "IntegerLayer":
        """Gives itself, as a layer that is still coded gives its integers."""
        return self

    def decode(self) -> HeadLayer:
        """Gives the layer with float32 values."""
        n, d = self.shape
        bias = None if self.bias is None else self.bias.decoded()[0]
        if self.weight is not None:
            return HeadLayer(n, d, self.activation, bias, weight=self.weight.decoded())
        assert self.u is not None and self.v is not None
        v = self.v.astype(np.float32)
        return HeadLayer(n, d, self.activation, bias, u=self.u.decoded(), v=v)
