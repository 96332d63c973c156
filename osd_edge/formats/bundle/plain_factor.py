"""One factor of a site as a plain bundle stores it: positions and values of the non-zeros."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code
from osd_edge.formats.coding import positions


@dataclass(frozen=True)
class PlainFactor:
    """A factor `[k, width]`: one row for each column of the paper's U (width n) or V (width d).

    `where` is the position code of the non-zeros, `values` the non-zeros in slot order.
    """

    k: int
    width: int
    where: NDArray[np.uint8]
    values: NDArray[Any]

    @classmethod
    def of(cls, dense: NDArray[Any]) -> "PlainFactor":
        """Makes one of a dense factor `[k, width]`, whose zeros are not stored."""
        flat = dense.reshape(-1)
        mask = flat != 0
        where = np.frombuffer(positions.encode(mask), np.uint8)
        return cls(dense.shape[0], dense.shape[1], where, flat[mask])

    @property
    def slots(self) -> int:
        """Elements of the factor, zero or not."""
        return self.k * self.width

    @property
    def count(self) -> int:
        """Non-zero elements."""
        return int(self.values.size)

    def check(self) -> None:
        """Raises BundleError unless positions and values are canonical; allocates no factor."""
        positions.decode(self.where, self.slots, self.count)
        if not self.values.all():
            raise BundleError(Code.BUNDLE_VALUE_ZERO, "a zero is stored as a non-zero value")

    def decode(self, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Decodes the factor `[k, width]` as float32, to `out` (zeros) where it is given."""
        if out is None:
            out = np.zeros((self.k, self.width), np.float32)
        elif not out.flags.c_contiguous:  # a block of a larger factor: no view of it is flat
            out[:] = self.decode()
            return out
        where = positions.decode(self.where, self.slots, self.count)
        if where is None:
            out.reshape(-1)[:] = self.values
        else:
            out.reshape(-1)[where] = self.values
        return out
