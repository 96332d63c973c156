"""The tensor `osd.vectors`: what a task adds to biases and norms of its base, as coded integers.

`docs/bundle-format.md` has the layout: a table of vectors, their scales, then a coded row of each.
"""

from dataclasses import dataclass

import numpy as np

from osd_edge.errors import BundleError, Code
from osd_edge.formats.bundle.table_bytes import Bytes, Floats, TableReader
from osd_edge.formats.coding.rows import IntegerArray, decode_rows
from osd_edge.formats.limits import MAX_DIMENSION


@dataclass(frozen=True)
class VectorDelta:
    """The change of one of the base's vectors, a bias or the weight of a norm.

    Attributes:
        vector: The index in the base's table of vectors, below 65,535.
        codes: Integers `[n]`, not all of them 0.
        scale: What they are multiplied with, a scale of the grid.

    >>> import numpy as np
    >>> from osd_edge import VectorDelta
    >>> VectorDelta(3, np.array([0, -2, 1], np.int8), np.float32(0.5)).decode().tolist()
    [0.0, -1.0, 0.5]
    """

    vector: int
    codes: IntegerArray
    scale: np.float32

    def decode(self) -> Floats:
        """Gives what is added to the base's vector, float32 `[n]`."""
        added: Floats = self.codes.astype(np.float32) * self.scale
        return added


class VectorsReader:
    """Reads `osd.vectors` in the order of the bundle's checks: the table, later the rows."""

    def __init__(self, tensor: Bytes) -> None:
        """Reads the table and the scales. Raises BundleError `bundle.coded-table`."""
        self._reader = TableReader(tensor, "osd.vectors")
        self._table = self._read_table()
        self._scales = self._reader.scales(len(self._table))

    @property
    def slots(self) -> int:
        """The number of integers of all vectors."""
        return sum(size for _, size in self._table)

    def finish(self) -> tuple[VectorDelta, ...]:
        """Decodes the rows.

        Raises BundleError `bundle.coded-size`, `bundle.coded-stream`, `bundle.coded-zero`.
        """
        shapes = [(1, size) for _, size in self._table]
        blocks = decode_rows(self._reader.tensor[self._reader.at :], shapes)
        for (vector, _), block in zip(self._table, blocks, strict=True):
            if not block.any():
                raise BundleError(Code.BUNDLE_CODED_ZERO, f"vector {vector} is all zeros")
        return tuple(
            VectorDelta(vector, block[0], scale)
            for (vector, _), block, scale in zip(self._table, blocks, self._scales, strict=True)
        )

    def _read_table(self) -> list[tuple[int, int]]:
        reader = self._reader
        table = []
        vector = -1
        for _ in range(reader.varint()):
            vector += 1 + reader.varint()
            if vector >= MAX_DIMENSION:
                raise reader.malformed(f"vector {vector}")
            size = reader.varint()
            if not 1 <= size <= MAX_DIMENSION:
                raise reader.malformed(f"a vector of {size} numbers")
            table.append((vector, size))
        if not table:
            raise reader.malformed("no vectors")
        return table
