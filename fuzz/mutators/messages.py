"""Mutates protocol buffers, as which ONNX graphs are stored, knowing no schema.

A message is a run of fields: a key (number and wire type), then a varint, 8 or 4 bytes, or a length
and bytes, which may be a message again.
"""

import struct
from dataclasses import dataclass
from random import Random

from fuzz.mutators.octets import mutate_octets

_NUMBERS = (0, 1, 2, 3, 7, 8, 10, 11, 16, 127, 128, 255, 65535, 1 << 31, (1 << 32) - 1, 1 << 40)
_LARGE = ((1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 8)
_TEXTS = (
    *(
        b"",
        b"..",
        b"../x",
        b"/",
        b"/dev/zero",
        b"model.onnx",
        b"model.onnx.data",
        b"tokenizer.json",
    ),
    *(b"location", b"offset", b"length", b"*/_ORT_MEM_ADDR_/*", b"-1", b"4096", b"1" * 20),
    *(b"\xff\xfe", b"\xc3", b"a" * 300, b"a\0b", b"Identity", b"MatMul", b"Loop", b"If", b"Shape"),
    *(b"last_hidden_state", b"input_ids", b"ai.onnx", b"com.microsoft", b"ConstantOfShape"),
)
_DEEPEST = 8
_LONGEST = 1 << 16  # bytes of a field that is taken for a message


@dataclass
class Field:
    """A field of a message: its number, its wire type, and its value or bytes."""

    number: int
    wire: int
    value: int | bytes


def parsed(data: bytes) -> list[Field] | None:
    """Takes a message apart; None where the bytes are none."""
    fields = []
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            value: int | bytes
            if number == 0:
                return None
            if wire == 0:
                value, at = _varint(data, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                value, at = data[at : at + size], at + size
            elif wire == 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            else:
                return None
            if at > len(data):
                return None
            fields.append(Field(number, wire, value))
    except IndexError:
        return None
    return fields


def joined(fields: list[Field]) -> bytes:
    """Puts a message together."""
    result = b""
    for field in fields:
        result += _packed(field.number << 3 | field.wire)
        if isinstance(field.value, int):
            result += _packed(field.value)
        else:
            result += _packed(len(field.value)) if field.wire == 2 else b""
            result += field.value
    return result


def mutate_message(noise: Random, data: bytes, other: bytes) -> bytes:
    """Gives a mutant of a message: fields changed wherever in its tree, lengths made to fit."""
    for _ in range(noise.choice((1, 1, 1, 2, 4))):
        data = _mutated(noise, data, other, 0)
    return mutate_octets(noise, data, other) if noise.random() < 0.05 else data


def _mutated(noise: Random, data: bytes, other: bytes, depth: int) -> bytes:
    fields = parsed(data) if 0 < len(data) <= _LONGEST and depth < _DEEPEST else None
    if not fields:
        return _leaf(noise, data)
    at = noise.randrange(len(fields))
    field = fields[at]
    if noise.random() < 0.75 and field.wire == 2 and isinstance(field.value, bytes):
        field.value = _mutated(noise, field.value, other, depth + 1)
        return joined(fields)
    kind = noise.randrange(8)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.insert(noise.randrange(len(fields) + 1), field)
    elif kind == 2:
        fields[at], fields[-1] = fields[-1], fields[at]
    elif kind == 3:
        field.number = noise.choice((1, 2, 3, 4, 5, 7, 9, 13, 14, 20, field.number + 1))
    elif kind == 4 and depth:
        more = parsed(other)
        fields += [noise.choice(more)] if more else []
    elif isinstance(field.value, int):
        field.value = noise.choice((*_NUMBERS, *_LARGE, field.value + 1, abs(field.value - 1)))
    else:
        field.value = _leaf(noise, field.value)
        if field.wire != 2:
            field.value = field.value[:8].ljust(8 if field.wire == 1 else 4, b"\0")
            field.value = field.value[: 8 if field.wire == 1 else 4]
    return joined(fields)


def _leaf(noise: Random, data: bytes) -> bytes:
    kind = noise.randrange(3)
    if kind == 0:
        return noise.choice(_TEXTS)
    if kind == 1 and len(data) % 8 == 0 and data:
        at = 8 * noise.randrange(len(data) // 8)
        number = noise.choice((*_NUMBERS, *_LARGE))
        return data[:at] + struct.pack("<Q", number) + data[at + 8 :]
    return mutate_octets(noise, data, data)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return number, at


def _packed(number: int) -> bytes:
    number %= 1 << 64
    result = bytearray()
    while number >= 128:
        result.append(128 | number & 127)
        number >>= 7
    return bytes([*result, number])
