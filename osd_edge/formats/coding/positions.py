"""Codes the positions of a factor's non-zeros: dense, as a bitmap or as fixed-width indices.

A factor is a matrix `[k, m]`, one row for each of its k columns (m = n for U, d for V),
flattened row by row into slots 0 … k·m - 1. Of the three codings a factor uses the one with the
fewest bytes, in the order dense, bitmap, indices where two are equal, so nothing has to say
which one it is:

* dense: every slot is non-zero, no bytes at all;
* bitmap: slot i is bit i mod 8 (least significant first) of byte ⌊i / 8⌋;
* indices: ascending slot numbers of w = ⌈log₂(k·m)⌉ bits (the paper's index width), laid out
  in w planes: plane b holds bit b of every index, as a bitmap over the indices.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BundleError, Code
from osd_edge.formats.coding.index_bits import index_bits

_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.int64)


def coding(slots: int, count: int) -> str:
    """Tells the coding of `count` non-zeros among `slots`: `dense`, `bitmap` or `indices`."""
    if count == slots:
        return "dense"
    return "bitmap" if -(-slots // 8) <= index_bits(slots) * -(-count // 8) else "indices"


def byte_count(slots: int, count: int) -> int:
    """Counts the bytes that the positions of `count` non-zeros among `slots` take."""
    return {
        "dense": 0,
        "bitmap": -(-slots // 8),
        "indices": index_bits(slots) * -(-count // 8),
    }[coding(slots, count)]


def encode(mask: NDArray[np.bool_]) -> bytes:
    """Codes a flat mask of slots; the inverse of `decode`.

    >>> encode(np.array([1, 0, 0, 1, 0, 0, 0, 0, 1, 1], bool)).hex()
    '0903'
    """
    slots, count = mask.size, int(np.count_nonzero(mask))
    kind = coding(slots, count)
    if kind == "dense":
        return b""
    if kind == "bitmap":
        return np.packbits(mask, bitorder="little").tobytes()
    if count == 0:
        return b""
    indices = np.flatnonzero(mask)
    bits = (indices >> np.arange(index_bits(slots))[:, None]) & 1
    return np.packbits(bits.astype(np.uint8), axis=1, bitorder="little").tobytes()


def decode(data: NDArray[np.uint8], slots: int, count: int) -> NDArray[np.int64] | None:
    """Decodes the ascending slot numbers `[count]` of the non-zeros; None where all slots are.

    `data` holds exactly `byte_count(slots, count)` bytes. Raises BundleError
    `bundle.positions` where they are not a canonical code.
    """
    kind = coding(slots, count)
    if kind == "dense":
        return None
    if count == 0:
        return np.zeros(0, np.int64)
    if kind == "bitmap":
        # Counted first: slots are only listed when there are as many as there are values.
        good = int(_BITS[data].sum()) == count
        bits = np.unpackbits(data, bitorder="little")
        indices = np.flatnonzero(bits) if good else np.zeros(count, np.int64)
        good = good and not bits[slots:].any()
    else:
        planes = data.reshape(index_bits(slots), -1)
        bits = np.unpackbits(planes, axis=1, bitorder="little")
        # Packed the other way: as numbers of 64 bits, the planes would take 64 times the file.
        packed = np.packbits(bits[:, :count], axis=0, bitorder="little")
        indices = np.zeros(count, np.int64)
        for byte, eight in enumerate(packed):
            indices |= eight.astype(np.int64) << 8 * byte
        good = not bits[:, count:].any() and bool((np.diff(indices) > 0).all())
        good = good and int(indices[-1]) < slots
    if not good:
        raise BundleError(
            Code.BUNDLE_POSITIONS,
            f"the positions of {count} non-zeros in {slots} slots are malformed",
        )
    result: NDArray[Any] = indices
    return result
