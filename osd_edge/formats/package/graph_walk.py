"""Finds the tensors of an ONNX graph file whose data lie in another file, before anyone opens it.

onnxruntime reads whatever a graph names, so a graph from outside is walked first: every message of
the file, by the protobuf wire format, and with the standard library alone. Strict, so that nothing
is read here in one way and there in another: fields that are not known, or are there twice where
one is expected, text that is not UTF-8 and nesting without end are refused. Data inside the file
are skipped without a look.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from osd_edge.formats.package.onnx_fields import ELEMENT_BITS, ENTRY, FIELDS, FILE, TENSOR

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MOST_LEVELS = 60  # of messages in messages: protobuf itself stops at 100
# Operators that onnxruntime may compute for ever while it opens a graph; no base package has one.
# Nor has any functions, each of which may call the next one twice: they are not known as fields.
ENDLESS = {"Einsum", "Loop", "Scan", "SequenceMap"}
_MOST_DIMENSIONS = 64  # of a tensor: numpy has no more either
_WIRE = {"int": _VARINT, "double": _FIXED64, "float": _FIXED32}
_EXTERNAL = 1  # of data_location, whose other value is 0
_KEYS = {"location", "offset", "length"}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose `length` bytes lie at `offset` of the file that the graph calls `location`."""

    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class _Field:
    name: str
    kind: str  # as FIELDS has it, without the star; "packed" for several numbers in one
    once: int  # a bit that only this field of its message has, 0 where there may be several


# By message and by what stands before each field: number · 8 + wire type.
_Fields = dict[int, _Field]


def _compiled(fields: dict[int, tuple[str, str]]) -> _Fields:
    made = {}
    for number, (name, kind) in fields.items():
        one = kind.removesuffix("*")
        once = 0 if one != kind else 1 << number
        made[number << 3 | _WIRE.get(one, _BYTES)] = _Field(name, one, once)
        if not once and one in _WIRE:
            made[number << 3 | _BYTES] = _Field(name, "packed", 0)
    return made


_MESSAGES = {message: _compiled(fields) for message, fields in FIELDS.items()}


def external_tensors(graph: bytes) -> Iterator[ExternalTensor]:
    """Finds the tensors of the graph file `graph` whose data are not in it.

    Wherever they stand: initializers, sparse ones, attributes, graphs in attributes, functions.
    Raises ValueError, which says what is wrong, where it comes to what no well-formed graph file
    has: so nothing is known until it has ended.
    """
    # A message's fields are looked at when its turn comes: memory is bounded by the levels alone.
    levels = [_walk(graph, 0, len(graph), FILE)]
    while levels:
        for field, start, stop in levels[-1]:
            if field.kind == TENSOR:
                tensor = _external(graph, start, stop)
                if tensor is not None:
                    yield tensor
            elif field.kind in _MESSAGES:
                levels.append(_walk(graph, start, stop, field.kind))
                break
        else:
            levels.pop()
        if len(levels) > _MOST_LEVELS:
            raise ValueError(f"more than {_MOST_LEVELS} messages in one another")


def _walk(data: bytes, at: int, end: int, message: str) -> Iterator[tuple[_Field, int, int]]:
    """Yields the fields of a message with where each begins and ends; a varint's value twice."""
    fields = _MESSAGES[message]
    seen = 0
    while at < end:
        key, at = _varint(data, at, end)
        field = fields.get(key)
        if field is None:
            raise ValueError(f"field {key >> 3} of {message} at byte {at}")
        if seen & field.once:
            raise ValueError(f"{field.name} twice in one {message}")
        seen |= field.once
        wire = key & 7
        if wire == _BYTES:
            length, at = _varint(data, at, end)
            start, at = at, at + length
        elif wire == _VARINT:
            value, at = _varint(data, at, end)
            yield field, value, value
            continue
        else:
            start, at = at, at + (4 if wire == _FIXED32 else 8)
        if at > end:
            raise ValueError(f"{field.name} ends beyond its {message}")
        if field.kind == "string":
            text = _text(data, start, at)
            if field.name == "op_type" and text in ENDLESS:
                raise ValueError(f"the operator {text}, with which opening may never end")
        yield field, start, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Reads a number of seven bits a byte, and where the next thing begins."""
    if at < end and data[at] < 128:
        return data[at], at + 1
    value = 0
    for i, byte in enumerate(data[at : min(end, at + 10)]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError(f"a number without an end at byte {at}")


def _external(data: bytes, at: int, end: int) -> ExternalTensor | None:
    """Reads a tensor; gives None where its data are in the graph file."""
    dims: list[int] = []
    numbers = {"data_type": 0, "data_location": 0}
    entries: dict[str, str] = {}
    for field, start, stop in _walk(data, at, end, TENSOR):
        if field.name == "dims":
            dims += _packed(data, start, stop) if field.kind == "packed" else [start]
            if len(dims) > _MOST_DIMENSIONS:
                raise ValueError(f"a tensor of more than {_MOST_DIMENSIONS} dimensions")
        elif field.name in numbers:
            numbers[field.name] = start
        elif field.kind == ENTRY:
            key, value = _entry(data, start, stop)
            if field.name == "external_data":
                if key in entries:
                    raise ValueError("a tensor that has two places in another file")
                entries[key] = value
    length = _length(dims, ELEMENT_BITS.get(numbers["data_type"], 128))
    if numbers["data_location"] == 0 and not entries:
        return None
    if numbers["data_location"] != _EXTERNAL or not entries.keys() <= _KEYS:
        raise ValueError("a tensor whose place is more than location, offset and length")
    offset = entries.get("offset", "0")
    if (
        numbers["data_type"] not in ELEMENT_BITS
        or not _NUMBER.fullmatch(offset)
        or entries.get("length", str(length)) != str(length)
    ):
        raise ValueError("a tensor in another file whose type, offset or length is wrong")
    return ExternalTensor(entries.get("location", ""), int(offset), length)


def _length(dims: list[int], bits: int) -> int:
    """Gives the bytes of a tensor; also one in the file must have a number that can be counted."""
    for size in dims:
        bits *= size
        if max(size, bits) >= 2**63:  # a negative size is near 2⁶⁴
            raise ValueError("a tensor of more bytes than can be counted")
    return (bits + 7) // 8


def _entry(data: bytes, at: int, end: int) -> tuple[str, str]:
    texts = {"key": "", "value": ""}
    for field, start, stop in _walk(data, at, end, ENTRY):
        texts[field.name] = _text(data, start, stop)
    return texts["key"], texts["value"]


def _text(data: bytes, at: int, end: int) -> str:
    try:
        return data[at:end].decode()
    except ValueError as error:
        raise ValueError(f"text that is not UTF-8 at byte {at}") from error


def _packed(data: bytes, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _varint(data, at, end)
        yield value
