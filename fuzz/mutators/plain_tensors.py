"""Mutates the tensors of a plain bundle: sites, counts, positions, values and scales."""

import struct
from random import Random

from fuzz.mutators.container import DTYPES, Container, TensorBytes
from fuzz.mutators.octets import mutate_octets

_FORMATS = {"F32": "I", "F16": "H", "I8": "B", "U8": "B", "U16": "H", "U32": "I"}
# Bits of floats that a reader must tell apart: zeros, subnormals, infinities, NaN, the largest.
_TELLING = {
    "F32": (
        *(0, 1 << 31, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000),
        *(0xFF800000, 0x7FC00000, 0x7F800001, 0xFF7FFFFF),
    ),
    "F16": (0, 1 << 15, 1, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01),
    "I8": (0, 1, 127, 128, 255),
    "U8": (0, 1, 3, 127, 128, 255),
    "U16": (0, 1, 2, 7, 8, 9, 255, 256, 32767, 32768, 65534, 65535),
    "U32": (0, 1, 2, 7, 8, 9, 255, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1),
}


def mutate_numbers(noise: Random, part: TensorBytes) -> None:
    """Changes one number of a tensor, to a telling one, a neighbour or another of its own."""
    code = _FORMATS.get(part.dtype)
    size = DTYPES.get(part.dtype, 1)
    if code is None or len(part.data) < size:
        part.data = mutate_octets(noise, part.data)
        return
    data = bytearray(part.data)
    count = len(data) // size
    at = size * noise.randrange(count)
    (old,) = struct.unpack_from(f"<{code}", data, at)
    kind = noise.randrange(4)
    if kind == 0:
        new = noise.choice(_TELLING[part.dtype])
    elif kind == 1:
        new = old + noise.choice((-1, 1))
    elif kind == 2:
        new = old ^ 1 << noise.randrange(8 * size)
    else:
        (new,) = struct.unpack_from(f"<{code}", data, size * noise.randrange(count))
    struct.pack_into(f"<{code}", data, at, new % (1 << 8 * size))
    part.data = bytes(data)


def mutate_length(noise: Random, part: TensorBytes) -> None:
    """Adds or takes a row, the shape fitting the bytes again."""
    row = DTYPES.get(part.dtype, 1)
    for size in part.shape[1:]:
        row *= size if isinstance(size, int) else 1
    row = min(max(row, 1), 1 << 12)
    at = row * noise.randrange(len(part.data) // row + 1)
    if noise.random() < 0.5:
        part.data = part.data[:at] + part.data[at + row :]
    else:
        part.data = part.data[:at] + part.data[max(at - row, 0) : at] + part.data[at:]
    part.reshape()


def mutate_sites(noise: Random, container: Container) -> None:
    """Changes the table of sites, and what goes with it: counts and values that follow it."""
    sites, counts = container.parts.get("osd.sites"), container.parts.get("osd.counts")
    if sites is None or len(sites.data) < 8:
        return
    table = [
        list(struct.unpack_from("<4H", sites.data, at)) for at in range(0, len(sites.data) - 7, 8)
    ]
    row = noise.randrange(len(table))
    kind = noise.randrange(5)
    if kind == 0:
        table[row][noise.randrange(4)] = noise.choice(_TELLING["U16"])
    elif kind == 1:
        at = noise.randrange(4)
        table[row][at] = max(0, min(65535, table[row][at] + noise.choice((-1, 1, 8))))
    elif kind == 2:
        table[row], table[-1] = table[-1], table[row]
    elif kind == 3:
        table.insert(row, list(table[row]))
        if counts is not None:
            counts.data = (
                counts.data[: 8 * row] + counts.data[8 * row : 8 * row + 8] + counts.data[8 * row :]
            )
            counts.reshape()
    else:
        del table[row]
        if counts is not None:
            counts.data = counts.data[: 8 * row] + counts.data[8 * row + 8 :]
            counts.reshape()
    sites.data = b"".join(struct.pack("<4H", *row) for row in table)
    sites.reshape()


def mutate_counts(noise: Random, container: Container) -> None:
    """Moves a count by one, and takes or adds a value, so that the sums fit again."""
    counts, values = container.parts.get("osd.counts"), container.parts.get("osd.values")
    if counts is None or values is None or len(counts.data) < 4 or not values.data:
        return
    at = 4 * noise.randrange(len(counts.data) // 4)
    (old,) = struct.unpack_from("<I", counts.data, at)
    size = DTYPES.get(values.dtype, 1)
    more = noise.random() < 0.5 or not old
    counts.data = (
        counts.data[:at]
        + struct.pack("<I", (old + (1 if more else -1)) % (1 << 32))
        + counts.data[at + 4 :]
    )
    values.data = values.data + values.data[:size] if more else values.data[:-size]
    values.reshape()


def mutate_positions(noise: Random, container: Container) -> None:
    """Moves a bit of the position codes to another slot, so that as many stay set."""
    part = container.parts.get("osd.positions")
    if part is None or not part.data:
        return
    data = bytearray(part.data)
    for _ in range(2):
        bit = noise.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
    part.data = bytes(data)
