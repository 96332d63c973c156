"""Checks that JSON data from anywhere is within bounds: its numbers, its depth, its text."""

from collections.abc import Iterable

LARGEST = 1e18  # nothing that is measured comes near; beyond it floats lose whole numbers
_DEEPEST = 32


def check_bounds(value: object) -> None:
    """Raises ValueError or TypeError where `value` is not plain JSON within bounds."""
    level = [value]
    for _ in range(_DEEPEST):  # level by level: recursion would end where Python's stack does
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise ValueError(f"nested more than {_DEEPEST} deep")


def bounded_int(digits: str) -> float:
    """Parses a whole number for `json.loads(parse_int=…)`; one that is too long is infinite.

    So it is `check_bounds` that refuses it.
    """
    return int(digits) if len(digits) < 30 else float("inf")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("expected text as a key")
        return (*value, *value.values())
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is a ValueError
    elif type(value) in (int, float):
        if not abs(value) < LARGEST:  # type: ignore[arg-type]  # NaN is not less either
            raise ValueError(f"expected a number below {LARGEST:g}, found one beyond it or none")
    elif value is not None and not isinstance(value, bool):
        raise TypeError(f"expected JSON, found {type(value).__name__}")
    return ()
