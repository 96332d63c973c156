"""Mutates `osd.coded` and `osd.vectors` field by field: tables, scales, classes, lanes, bits."""

import struct
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz.mutators.octets import TELLING, mutate_octets

_STATES = (
    0,
    1,
    (1 << 16) - 1,
    1 << 16,
    (1 << 16) + 1,
    1 << 18,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
)
_TOPS = (-32768, -32767, -770, -769, -768, 0, 16, 1023, 1024, 1025, 32767)
_VARINTS = (
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    127,
    128,
    129,
    255,
    256,
    16383,
    16384,
    65535,
    65536,
    (1 << 28) - 1,
)


@dataclass
class CodedFields:
    """The fields of the tensor, in their order: `numbers` are the varints of its table."""

    numbers: list[int]
    groups: list[tuple[int, bytes, int | None]]  # of scales: top, bytes below, a layer's bias
    classes: bytes
    lanes: int  # log₂ of their number
    states: list[int]
    rest: bytes  # words, then raw bits

    @classmethod
    def of(cls, data: bytes, layers: list[Any]) -> "CodedFields | None":
        """Takes the tensor apart, of a head with these layers; None where that fails."""
        try:
            return _Scanner(data).fields(layers)
        except (ArithmeticError, LookupError, ValueError, TypeError, struct.error):
            return None

    @classmethod
    def of_vectors(cls, data: bytes) -> "CodedFields | None":
        """Takes `osd.vectors` apart; None where that fails."""
        try:
            return _Scanner(data).vectors()
        except (ArithmeticError, LookupError, ValueError, TypeError, struct.error):
            return None

    def tensor(self) -> bytes:
        """Puts the tensor together."""
        result = b"".join(map(_varint, self.numbers))
        for top, below, bias in self.groups:
            result += struct.pack("<h", top) + below
            result += b"" if bias is None else struct.pack("<h", bias)
        result += self.classes + bytes([self.lanes])
        return result + struct.pack(f"<{len(self.states)}I", *self.states) + self.rest


def mutate_coded(noise: Random, fields: CodedFields) -> None:
    """Changes one field."""
    kind = noise.randrange(9)
    if kind < 2 and fields.numbers:
        at = noise.randrange(len(fields.numbers))
        near = max(0, fields.numbers[at] + noise.choice((-1, 1)))
        fields.numbers[at] = noise.choice((near, noise.choice(_VARINTS)))
    elif kind == 2 and fields.groups:
        at = noise.randrange(len(fields.groups))
        top, below, bias = fields.groups[at]
        if bias is not None and noise.random() < 0.5:
            bias = noise.choice(_TOPS)
        else:
            top = noise.choice((noise.choice(_TOPS), max(-32768, top - 1)))
        fields.groups[at] = (top, below, bias)
    elif kind == 3 and fields.groups:
        at = noise.randrange(len(fields.groups))
        top, below, bias = fields.groups[at]
        fields.groups[at] = (top, mutate_octets(noise, below), bias)
    elif kind == 4:
        classes = bytearray(fields.classes or b"\0")
        classes[noise.randrange(len(classes))] = noise.choice((noise.randrange(256), *TELLING))
        fields.classes = bytes(classes)
    elif kind == 5:
        fields.lanes = noise.choice((0, 1, 2, 3, 11, 12, 13, 255, noise.randrange(13)))
        if noise.random() < 0.7 and fields.lanes < 13 and fields.states:
            count = 1 << fields.lanes
            fields.states = (fields.states * count)[:count]
    elif kind == 6 and fields.states:
        at = noise.randrange(len(fields.states))
        states = (noise.choice(_STATES), noise.getrandbits(32), fields.states[at] ^ 1)
        fields.states[at] = noise.choice(states)
    elif kind == 7 and fields.rest:
        # The last bytes: raw bits, and whether all of them are needed.
        cut = noise.choice((fields.rest[:-1], fields.rest[:-2], fields.rest + b"\0"))
        fields.rest = noise.choice((cut, fields.rest[:-1] + bytes([noise.randrange(256)])))
    else:
        fields.rest = mutate_octets(noise, fields.rest)


class _Scanner:
    """Reads the fields of a tensor that is mostly well-formed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self, layers: list[Any]) -> CodedFields:
        numbers = [self._number()]
        ranks: list[int] = []
        groups: list[tuple[int, bytes, int | None]] = []
        if numbers[0]:
            shapes = self._number()
            numbers.append(shapes)
            numbers += [self._number() for _ in range(2 * shapes)]
            for _ in range(numbers[0]):
                gap, rank = self._number(), self._number()
                numbers += [gap, rank]
                ranks.append(rank // shapes + 1)
            groups.append((*self._group(sum(ranks)), None))
        rows = 2 * sum(ranks)
        for layer in layers:
            rank, size = layer["rank"], layer["shape"][0]
            top, below = self._group(rank or size)
            bias = self._short()
            groups.append((top, below, bias))
            rows += (2 * rank or size) + (bias != -32768)
        return self._rows(rows, numbers, groups)

    def vectors(self) -> CodedFields:
        numbers = [self._number()]
        numbers += [self._number() for _ in range(2 * numbers[0])]
        groups: list[tuple[int, bytes, int | None]] = [(*self._group(numbers[0]), None)]
        return self._rows(numbers[0], numbers, groups)

    def _rows(
        self, rows: int, numbers: list[int], groups: list[tuple[int, bytes, int | None]]
    ) -> CodedFields:
        classes = self._take(rows)
        lanes = self._take(1)[0]
        states = list(struct.unpack(f"<{1 << lanes}I", self._take(4 << lanes)))
        return CodedFields(numbers, groups, classes, lanes, states, self._data[self._at :])

    def _number(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self._take(1)
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 28:
                return number

    def _group(self, count: int) -> tuple[int, bytes]:
        return self._short(), self._take(count)

    def _short(self) -> int:
        top: int = struct.unpack("<h", self._take(2))[0]
        return top

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError("it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]


def _varint(number: int) -> bytes:
    result = bytearray()
    while number >= 128:
        result.append(128 | number & 127)
        number >>= 7
    return bytes([*result, number])
