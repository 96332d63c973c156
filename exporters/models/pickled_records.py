"""Reads a pickle as plain records: no class is looked up and no code of the file is run.

A pickle is a program that makes objects by calling whatever it names. Here its instructions are
followed by an interpreter of our own, which only notes what would be called and with what. Arrays
of numbers come out as numpy's, also those that joblib writes between the instructions.
"""

import io
import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 2**28  # of a file that is read
_MARK = object()
_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_RECONSTRUCT = re.compile(r"numpy\.(core|_core)\.multiarray\._reconstruct")
_FROM_BUFFER = re.compile(r"numpy\.(core|_core)\.numeric\._frombuffer")
_SCALAR = re.compile(r"numpy\.(core|_core)\.multiarray\.scalar")
_NUMBERS = re.compile(r"[fiu][1248]|b1|U[0-9]{1,4}")  # types of arrays that hold no objects
_NESTED = 4  # pickles of an array of objects within another one
_PUSHED: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MADE: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
    | {"BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)


class PickleError(Exception):
    """A pickle that is malformed, or that asks for more than is followed, in words."""


@dataclass(frozen=True)
class Name:
    """The full name of a class or function that a pickle asks for."""

    name: str


@dataclass
class Record:
    """An object that a pickle would make, by calling `made_by` and then setting its `state`."""

    made_by: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        """The object's attributes; none where its state is no mapping."""
        return self.state if isinstance(self.state, dict) else {}


def read_pickle(path: Path) -> Any:
    """The object in the pickle file `path`, as records; raises PickleError, OSError."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise PickleError(f"it has more than {MOST_BYTES} bytes")
    return _interpreted(io.BytesIO(data), 0)


def _interpreted(stream: io.BytesIO, depth: int) -> Any:
    if depth > _NESTED:
        raise PickleError("pickles are nested too deep")
    machine = _Machine(stream, depth)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise PickleError("it is no whole pickle") from error
    raise PickleError("it ends too early")


class _Machine:
    """The stack and the memory of a pickle's program."""

    def __init__(self, stream: io.BytesIO, depth: int) -> None:
        self.stack: list[Any] = []
        self._memory: dict[int, Any] = {}
        self._remembered: dict[int, list[int]] = {}  # by the identity of a record, its numbers
        self._stream, self._depth = stream, depth

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction; raises PickleError for one that is not known."""
        stack = self.stack
        if name in _PUSHED:
            stack.append(_PUSHED[name])
        elif name in _MADE:
            stack.append(_MADE[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MEMOIZE":
            self._remember(len(self._memory), stack[-1])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._remember(argument, stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memory[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(name, argument)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._marked()))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [stack.pop()] if name == "APPEND" else self._marked()
            _items_of(stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items([stack.pop(-2), stack.pop()] if name == "SETITEM" else self._marked())
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, made_by = stack.pop(), stack.pop()
            stack.append(self._called(made_by, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1] = self._built(stack[-1], state)
        else:
            raise PickleError(f"it has the instruction {name}, which is not followed")

    def _name(self, opcode: str, argument: Any) -> None:
        if opcode == "GLOBAL":
            self.stack.append(Name(str(argument).replace(" ", ".")))
            return
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Name(f"{module!s}.{name!s}"))

    def _marked(self) -> list[Any]:
        """Takes off the stack all that stands above the last mark, and the mark."""
        found: list[Any] = []
        while (top := self.stack.pop()) is not _MARK:
            found.append(top)
        return found[::-1]

    def _set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if isinstance(target, Record):
                target.items.append((key, value))
            elif isinstance(key, str | int):
                target[key] = value
            else:  # a key of tuples in tuples may take for ever to hash
                raise PickleError("it has a mapping by other things than names and numbers")

    def _called(self, made_by: Any, arguments: Any) -> Any:
        if not isinstance(made_by, Name) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no name")
        if _FROM_BUFFER.fullmatch(made_by.name):
            data, dtype, shape, order = arguments
            return _array(bytes(data), _dtype(dtype), shape, order)
        if made_by.name == "_codecs.encode":  # how protocol 2 writes bytes
            text, encoding = arguments
            if encoding != "latin1":
                raise PickleError("it has bytes of an unknown form")
            return str(text).encode("latin1")
        if _SCALAR.fullmatch(made_by.name):
            dtype, data = arguments
            return _array(bytes(data), _dtype(dtype), (), "C")[()]
        return Record(made_by.name, arguments)

    def _built(self, made: Any, state: Any) -> Any:
        if not isinstance(made, Record):
            raise PickleError("it sets the state of what has none")
        made.state = state
        if _RECONSTRUCT.fullmatch(made.made_by):
            built = _reconstructed(state)
        elif made.made_by == _WRAPPER:
            built = self._following_array(made.fields)
        else:
            return made
        for number in self._remembered.get(id(made), ()):  # the array is meant wherever it is
            if self._memory[number] is made:
                self._memory[number] = built
        return built

    def _remember(self, number: int, value: Any) -> None:
        self._memory[number] = value
        if isinstance(value, Record):
            self._remembered.setdefault(id(value), []).append(number)

    def _following_array(self, fields: dict[str, Any]) -> Any:
        """The array that joblib has put after the instruction that was just followed."""
        dtype, shape = _dtype(fields["dtype"]), fields["shape"]
        if dtype is None:  # of objects: a pickle in the pickle
            return _interpreted(self._stream, self._depth + 1)
        if fields.get("numpy_array_alignment_bytes") is not None:
            self._stream.read(self._stream.read(1)[0])
        return _array(self._stream.read(_bytes_of(dtype, shape)), dtype, shape, fields["order"])


def _items_of(target: Any) -> list[Any]:
    items: list[Any] = target.items if isinstance(target, Record) else target
    if not isinstance(items, list):
        raise PickleError("it adds to what is no list")
    return items


def _dtype(record: Any) -> np.dtype[Any] | None:
    """The type of an array's numbers or texts; None for objects."""
    if not isinstance(record, Record) or record.made_by != "numpy.dtype":
        raise PickleError("it has an array of no type")
    code, order = str(record.arguments[0]), str(record.state[1])
    if code in ("O8", "O4", "O"):
        return None
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PickleError(f"it has an array of type {code[:20]}")
    return np.dtype(order + code)


def _bytes_of(dtype: np.dtype[Any], shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise PickleError("it has an array of no shape")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size > MOST_BYTES:
        raise PickleError("it has an array larger than the file")
    return size


def _array(data: bytes, dtype: np.dtype[Any] | None, shape: Any, order: Any) -> Any:
    if dtype is None or len(data) != _bytes_of(dtype, shape) or order not in ("C", "F"):
        raise PickleError("it has an array of another size than its bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstructed(state: Any) -> Any:
    """The array of numpy's own state: its version, shape, type, order and bytes."""
    _, shape, record, by_columns, data = state
    dtype = _dtype(record)
    if dtype is None:
        return list(data)
    return _array(bytes(data), dtype, shape, "F" if by_columns else "C")
