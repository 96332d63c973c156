"""The bytes of a coded table: varints, and scales on a grid; written, and read with suspicion."""

import struct

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code
from osd_edge.formats.coding.scales import DEEPEST, LARGEST, scale_indices, scale_values

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_VARINT_BYTES = 4


def varint_bytes(number: int) -> bytes:
    """Writes a number of seven bits a byte, the low ones first; the top bit: more follow."""
    result = b""
    while number >= 128:
        result += bytes([128 | number & 127])
        number >>= 7
    return result + bytes([number])


def scale_bytes(scales: Floats) -> bytes:
    """Writes the largest grid index, 16 bits, and how far each scale lies below it, 8 bits.

    Raises ValueError where a scale is not on the grid.
    """
    indices = scale_indices(scales)
    if not np.array_equal(scale_values(indices), scales):
        raise ValueError("scales are not on the grid: see snap_scales")
    top = int(indices.max())
    return struct.pack("<h", top) + bytes((top - indices).tolist())


class TableReader:
    """Reads a table from the start of `tensor`; `at` is the byte after what was read.

    Every method raises BundleError `bundle.coded-table` where the bytes are malformed or end.
    """

    def __init__(self, tensor: Bytes, name: str) -> None:
        """Begins at the first byte of the tensor called `name`."""
        self.tensor = tensor
        self.at = 0
        self._name = name

    def varint(self) -> int:
        """Reads a number of up to four bytes, which must be as few as it needs."""
        number = 0
        for i in range(_VARINT_BYTES):
            byte = int(self._take(1)[0])
            number |= (byte & 127) << 7 * i
            if byte < 128:
                if i and not byte:
                    break
                return number
        raise self.malformed("a number is not in its shortest form")

    def int16(self) -> int:
        """Reads a number of 16 bits with a sign."""
        return int(self._take(2).view("<i2")[0])

    def index(self, number: int) -> int:
        """Checks that `number` is the index of a scale that may lead a group, and gives it back."""
        if not DEEPEST - LARGEST <= number <= LARGEST:
            raise self.malformed(f"a scale of 2^({number}/16)")
        return number

    def scales(self, count: int) -> Floats:
        """Reads a group of `count` scales."""
        top = self.index(self.int16())
        below = self._take(count)
        if below.min() != 0:
            raise self.malformed("no scale is the largest")
        return scale_values(top - below.astype(np.int64))

    def malformed(self, what: str) -> BundleError:
        """Makes the refusal of a table in which `what` is wrong."""
        return BundleError(
            Code.BUNDLE_CODED_TABLE, f"the table of {self._name} is malformed: {what}"
        )

    def _take(self, count: int) -> Bytes:
        if count > self.tensor.size - self.at:
            raise self.malformed("it ends too early")
        self.at += count
        return self.tensor[self.at - count : self.at]
