"""Mutates bytes that nothing is known of."""

from random import Random

TELLING = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 34, 44, 48, 57, 63, 64, 123, 125, 127, 128, 254, 255)


def mutate_octets(noise: Random, data: bytes, other: bytes = b"") -> bytes:
    """Changes, inserts, removes or copies a few bytes of `data`."""
    result = bytearray(data)
    for _ in range(noise.choice((1, 1, 1, 2, 4))):
        _change(noise, result, other)
    return bytes(result)


def _change(noise: Random, result: bytearray, other: bytes) -> None:
    at = noise.randrange(len(result) + 1)
    length = noise.choice((1, 1, 2, 4, 8, noise.randrange(64)))
    kind = noise.randrange(8)
    if kind == 0 and at < len(result):
        result[at] ^= 1 << noise.randrange(8)
    elif kind == 1 and at < len(result):
        result[at] = noise.choice(TELLING)
    elif kind == 2 and at < len(result):
        result[at] = (result[at] + noise.choice((-1, 1))) % 256
    elif kind == 3:
        del result[at : at + length]
    elif kind == 4:
        result[at:at] = bytes([noise.choice(TELLING)]) * length
    elif kind == 5:
        source = noise.choice((bytes(result), other))
        begin = noise.randrange(len(source) + 1)
        result[at : at + length] = source[begin : begin + length]
    elif kind == 6 and noise.random() < 0.2:
        del result[at:]
    else:
        result[at : at + length] = noise.randbytes(len(result[at : at + length]))
