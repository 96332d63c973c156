"""Factors and head layers as a bundle that is not coded holds them: fp32, fp16 or int8 values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.heads import HeadLayer

Array = NDArray[Any]

VALUE_TYPES: Mapping[str, np.dtype[Any]] = {
    "fp32": np.dtype("<f4"),
    "fp16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
}


@dataclass(frozen=True)
class Matrix:
    """The values of one matrix as stored: fp32, fp16, or int8 with one fp32 scale for each row."""

    values: Array
    scale: NDArray[np.float32] | None = None

    def decoded(self) -> NDArray[np.float32]:
        """Gives the values as float32, scales applied."""
        values: NDArray[np.float32] = self.values.astype(np.float32)
        return values if self.scale is None else values * self.scale[:, None]


@dataclass(frozen=True)
class PlainSite:
    """Plain factors of one site: ΔW = Σ_k scale_k u_k v_kᵀ, `[n, d]`.

    `site` is the index in the base's site table; `scale` `[k]` goes with int8 values only and
    is applied to `u`.
    """

    site: int
    u: PlainFactor
    v: PlainFactor
    scale: NDArray[np.float32] | None = None

    @property
    def n(self) -> int:
        """Outputs of the layer."""
        return self.u.width

    @property
    def d(self) -> int:
        """Inputs of the layer."""
        return self.v.width

    @property
    def k(self) -> int:
        """Rank of the factors."""
        return self.u.k

    def decode(
        self, out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Decodes U `[k, n]`, scales applied, and V `[k, d]`; U to `out` (zeros) where given."""
        u = self.u.decode(out)
        if self.scale is not None:
            u *= self.scale[:, None]
        return u, self.v.decode()

    def write(self, u: NDArray[np.float32], v: NDArray[np.float32]) -> None:
        """Decodes to `u` `[k, n]` (zeros) and, transposed, to `v` `[d, k]`."""
        v[:] = self.decode(u)[1].T


@dataclass(frozen=True)
class PlainLayer:
    """One linear layer of a head, as stored: `weight` `[n, d]`, or `u` `[k, n]` and `v` `[k, d]`.

    int8 scales: one for each row of `weight`; one for each of the k columns, kept with `u`.
    """

    activation: str | None
    bias: NDArray[np.float32] | None
    weight: Matrix | None = None
    u: Matrix | None = None
    v: Matrix | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs n and inputs d of the layer."""
        if self.weight is not None:
            return int(self.weight.values.shape[0]), int(self.weight.values.shape[1])
        assert self.u is not None and self.v is not None
        return int(self.u.values.shape[1]), int(self.v.values.shape[1])

    @property
    def rank(self) -> int:
        """Rank of the factors, 0 for a full matrix."""
        return 0 if self.u is None else int(self.u.values.shape[0])

    def decode(self) -> HeadLayer:
        """Decodes the layer to float32 values."""
        n, d = self.shape
        weight, u, v = (
            None if matrix is None else matrix.decoded() for matrix in (self.weight, self.u, self.v)
        )
        return HeadLayer(n, d, self.activation, self.bias, weight=weight, u=u, v=v)
