"""Checks the arguments of public functions, so that one of a wrong type is refused with a code."""

import math
import operator
import os
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TypeVar

from osd_edge.errors import Code, InputError, shown

T = TypeVar("T")


def as_path(value: object, name: str) -> Path:
    """Gives the path that argument `name` names by text or as a path.

    Raises InputError `input.path` for anything else, bytes too.

    >>> as_path("minilm", "base").name
    'minilm'
    """
    try:
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    except TypeError:  # an object that says it is a path, and is none
        text = None
    if not isinstance(text, str):
        raise InputError(
            Code.INPUT_PATH,
            f"{name}: expected a path, as text or Path, found {described(value)}",
        )
    return value if isinstance(value, Path) else Path(text)


def as_model(value: object, name: str) -> str | Path:
    """Gives the folder of a model as a path; text stays text, since it may be a hub id.

    Raises InputError `input.path`.
    """
    return value if isinstance(value, str) else as_path(value, name)


def as_paths(values: object, name: str) -> tuple[Path, ...]:
    """Gives several paths, of which one alone may stand for itself; InputError `input.path`."""
    if isinstance(values, str | os.PathLike):
        return (as_path(values, name),)
    if not isinstance(values, Sequence) or isinstance(values, bytes):
        raise InputError(
            Code.INPUT_PATH, f"{name}: expected a list of paths, found {described(values)}"
        )
    return tuple(as_path(value, name) for value in values)


def as_whole(
    value: object,
    name: str,
    least: int = 0,
    most: int | None = None,
    code: Code = Code.INPUT_NUMBER,
) -> int:
    """Gives a whole number from `least` to `most`, numpy's too; refuses others with `code`.

    >>> as_whole(3, "runs", 1)
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]  # what has no index is refused
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(
            code, f"{name}: expected a whole number {bounds}, found {described(value)}"
        )
    return number


def as_number(value: object, name: str, code: Code = Code.INPUT_NUMBER) -> float:
    """Gives a finite number as a float; refuses all else, True and False too, with `code`.

    >>> as_number(2, "seconds")
    2.0
    """
    try:
        real = isinstance(value, Real) and not isinstance(value, bool)
        number = float(value) if real else math.nan  # type: ignore[arg-type]
    except OverflowError:  # a whole number that no float holds
        number = math.inf
    if not math.isfinite(number):
        raise InputError(code, f"{name}: expected a number, found {described(value)}")
    return number


def expect(value: object, kind: type[T], name: str) -> T:
    """Gives an argument back that is of the type `kind`, and refuses another: `input.type`.

    >>> expect(True, bool, "words")
    True
    """
    if not isinstance(value, kind):
        raise InputError(
            Code.INPUT_TYPE, f"{name}: expected {kind.__name__}, found {described(value)}"
        )
    return value


def expect_callable(value: object, name: str) -> None:
    """Refuses (`input.type`) what cannot be called, such as no progress at all."""
    if not callable(value):
        raise InputError(Code.INPUT_TYPE, f"{name}: expected a function, found {described(value)}")


def described(value: object) -> str:
    """Describes a value of any type in a few words for a message."""
    try:
        text = repr(value)
    except Exception:  # of a class of the caller's, which may do anything
        text = "a value"
    return f"{shown(text, 40)} ({type(value).__name__})"
