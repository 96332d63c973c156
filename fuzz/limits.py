"""The time and the memory that one input may take: a multiple of its size, and a constant."""

from osd_edge.formats.limits import SLOTS_PER_BYTE

# An integer takes a byte, five where one of them is large; its position and sign while they are
# decoded, and its float32, come to as much again.
BYTES_PER_SLOT = 12
BYTES_BESIDE = 4 << 20

SECONDS_BESIDE = 0.5
SECONDS_PER_BYTE = 1e-4

LARGEST_INPUT = 64 << 10  # bytes: larger mutants are cut, so that the others have their turn
SAMPLED = 64  # of so many inputs, one has its memory counted to the byte


def most_slots(size: int) -> int:
    """Gives the elements of factors, head and vectors that a file of `size` bytes may have."""
    return SLOTS_PER_BYTE * size


def most_bytes(size: int) -> int:
    """Gives the memory in bytes that reading and decoding a file of `size` bytes may take."""
    return BYTES_PER_SLOT * most_slots(size) + BYTES_BESIDE


def most_seconds(size: int, beside: float) -> float:
    """Gives the processor time in seconds that an input of `size` bytes may take."""
    return SECONDS_PER_BYTE * size + beside
