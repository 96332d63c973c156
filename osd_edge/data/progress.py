"""How long work tells its caller how far it is, without knowing who shows it.

A function that may run for more than a second takes `progress: Progress = silent` and wraps
what it iterates over; the command line passes one that draws a bar.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable: yields its items unchanged and may show a bar with `label`."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield each of `items`; `total` where `len(items)` is not known."""
        ...


def silent(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield each of `items` and show nothing."""
    yield from items
