"""The time and the memory that one input may take: a multiple of its size, and a constant."""

# The coded rows' own limit: 512 groups of four slots a byte. A reader that holds a file to fewer
# slots makes this smaller, here and nowhere else (fuzz/reader.mjs is told of it).
SLOTS_PER_BYTE = 2048
SLOTS_BESIDE = 1 << 16
# Integers, their positions and their signs while they are decoded, and float32 of one of them.
BYTES_PER_SLOT = 32
BYTES_BESIDE = 4 << 20

SECONDS_BESIDE = 0.5
SECONDS_PER_BYTE = 1e-4

LARGEST_INPUT = 64 << 10  # bytes: larger mutants are cut, so that the others have their turn
SAMPLED = 64  # of so many inputs, one has its memory counted to the byte


def most_slots(size: int) -> int:
    """Gives the elements of factors and head that a file of `size` bytes may decode to."""
    return SLOTS_PER_BYTE * size + SLOTS_BESIDE


def most_bytes(size: int) -> int:
    """Gives the memory in bytes that reading and decoding a file of `size` bytes may take."""
    return BYTES_PER_SLOT * most_slots(size) + BYTES_BESIDE


def most_seconds(size: int, beside: float) -> float:
    """Gives the processor time in seconds that an input of `size` bytes may take."""
    return SECONDS_PER_BYTE * size + beside
