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

MOST_BYTES = 2**26  # of a file that is read, and of the arrays made of it
_MOST_STEPS = 2**20  # a classifier of a thousand labels takes some hundred thousand
_MOST_DIMENSIONS = 8
_KEYS = range(-(2**31), 2**32)  # that a mapping is by: larger numbers can be made to collide
_MARK = object()
PERSISTENT = "persistent"  # what an object is made by that whoever wrote the pickle has elsewhere
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


# What comes of instructions that do not fit together.
_MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, struct.error),
    *(OverflowError, MemoryError, RecursionError),
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
    return _interpreted(io.BytesIO(data), 0, _Bounds())


def leading_pickles(data: bytes, count: int) -> tuple[list[Any], bytes]:
    """The objects of `count` pickles that `data` begins with, and what follows them.

    Raises PickleError.
    """
    stream, bounds = io.BytesIO(data), _Bounds()
    return [_interpreted(stream, 0, bounds) for _ in range(count)], stream.read()


def _interpreted(stream: io.BytesIO, depth: int, bounds: "_Bounds") -> Any:
    if depth > _NESTED:
        raise PickleError("pickles are nested too deep")
    machine = _Machine(stream, depth, bounds)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            bounds.step()
            machine.step(opcode.name, argument)
    except _MALFORMED as error:
        raise PickleError("it is no whole pickle") from error
    raise PickleError("it ends too early")


class _Bounds:
    """Counts what a pickle and those within it do: a short one may ask for endless memory."""

    def __init__(self) -> None:
        self._steps = self._bytes = 0

    def step(self) -> None:
        """Counts an instruction."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise PickleError(f"it has more than {_MOST_STEPS} instructions")

    def take(self, count: int) -> None:
        """Counts bytes of an array or a text that is made, of bytes that may be shared."""
        self._bytes += count
        if self._bytes > MOST_BYTES:
            raise PickleError("it has arrays larger than a file of it may be")


class _Machine:
    """The stack and the memory of a pickle's program."""

    def __init__(self, stream: io.BytesIO, depth: int, bounds: _Bounds) -> None:
        self.stack: list[Any] = []
        self._memory: dict[int, Any] = {}
        # By the identity of a record, which is kept so that no other has it, the array it became.
        self._arrays: dict[int, tuple[Record, Any]] = {}
        self._stream, self._depth, self._bounds = stream, depth, bounds

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
            self._memory[len(self._memory)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memory[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            found = self._memory[argument]
            stack.append(self._arrays.get(id(found), (found, found))[1])
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
        elif name == "BINPERSID":
            stack.append(Record(PERSISTENT, (stack.pop(),)))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1] = self._built(stack[-1], state)
        else:
            raise PickleError(f"it has the instruction {name}, which is not followed")

    def _name(self, opcode: str, argument: Any) -> None:
        if opcode == "GLOBAL":
            self.stack.append(Name(_text(argument).replace(" ", ".")))
            return
        name, module = _text(self.stack.pop()), _text(self.stack.pop())
        self._bounds.take(len(name) + len(module))
        self.stack.append(Name(f"{module}.{name}"))

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
            elif isinstance(key, str) or (isinstance(key, int) and key in _KEYS):
                target[key] = value
            else:  # a key of tuples in tuples may take for ever to hash
                raise PickleError("it has a mapping by other things than names and numbers")

    def _called(self, made_by: Any, arguments: Any) -> Any:
        if not isinstance(made_by, Name) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no name")
        if _FROM_BUFFER.fullmatch(made_by.name):
            data, dtype, shape, order = arguments
            return self._array(data, _dtype(dtype), shape, order)
        if made_by.name == "_codecs.encode":  # how protocol 2 writes bytes
            text, encoding = arguments
            if encoding != "latin1":
                raise PickleError("it has bytes of an unknown form")
            self._bounds.take(len(_text(text)))
            return _text(text).encode("latin1")
        if _SCALAR.fullmatch(made_by.name):
            dtype, data = arguments
            return self._array(data, _dtype(dtype), (), "C")[()]
        return Record(made_by.name, arguments)

    def _built(self, made: Any, state: Any) -> Any:
        if not isinstance(made, Record):
            raise PickleError("it sets the state of what has none")
        made.state = state
        if _RECONSTRUCT.fullmatch(made.made_by):
            built = self._reconstructed(state)
        elif made.made_by == _WRAPPER:
            built = self._following_array(made.fields)
        else:
            return made
        self._arrays[id(made)] = made, built
        return built

    def _following_array(self, fields: dict[str, Any]) -> Any:
        """The array that joblib has put after the instruction that was just followed."""
        dtype, shape = _dtype(fields["dtype"]), fields["shape"]
        if dtype is None:  # of objects: a pickle in the pickle
            return _interpreted(self._stream, self._depth + 1, self._bounds)
        if fields.get("numpy_array_alignment_bytes") is not None:
            self._stream.read(self._stream.read(1)[0])
        data = self._stream.read(_bytes_of(dtype, shape))
        return self._array(data, dtype, shape, fields["order"])

    def _reconstructed(self, state: Any) -> Any:
        """The array of numpy's own state: its version, shape, type, order and bytes."""
        _, shape, record, by_columns, data = state
        dtype = _dtype(record)
        if dtype is None:
            return _items_of(data)
        return self._array(data, dtype, shape, "F" if by_columns else "C")

    def _array(self, data: Any, dtype: np.dtype[Any] | None, shape: Any, order: Any) -> Any:
        if not isinstance(data, bytes | bytearray):
            raise PickleError("it has an array of what are no bytes")
        if dtype is None or len(data) != _bytes_of(dtype, shape) or order not in ("C", "F"):
            raise PickleError("it has an array of another size than its bytes")
        self._bounds.take(len(data))
        return np.frombuffer(data, dtype).reshape(shape, order=order)


def _text(value: Any) -> str:
    """A text; what is none is never written out: a short pickle may hold endless tuples."""
    if not isinstance(value, str):
        raise PickleError("it has a name that is no text")
    return value


def _items_of(target: Any) -> list[Any]:
    items: list[Any] = target.items if isinstance(target, Record) else target
    if not isinstance(items, list):
        raise PickleError("it adds to what is no list")
    return items


def _dtype(record: Any) -> np.dtype[Any] | None:
    """The type of an array's numbers or texts; None for objects."""
    if not isinstance(record, Record) or record.made_by != "numpy.dtype":
        raise PickleError("it has an array of no type")
    code, order = _text(record.arguments[0]), _text(record.state[1])
    if code in ("O8", "O4", "O"):
        return None
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PickleError(f"it has an array of type {code[:20]}")
    return np.dtype(order + code)


def _bytes_of(dtype: np.dtype[Any], shape: Any) -> int:
    if (
        not isinstance(shape, tuple)
        or len(shape) > _MOST_DIMENSIONS
        or not all(type(n) is int and 0 <= n <= MOST_BYTES for n in shape)
    ):
        raise PickleError("it has an array of no shape")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size > MOST_BYTES:
        raise PickleError("it has an array larger than the file")
    return size
