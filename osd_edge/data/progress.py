"""Progress of long work: a function says how far it is without knowing who shows it.

A function that may run for more than a second takes `progress: Progress = silent` and wraps
what it iterates over; the command line passes one that draws a bar.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """A function that shows how far long work is: it wraps what the work iterates over.

    Args:
        items: What the work goes through.
        label: What it does, for people.
        total: Number of items, where `len(items)` is not known.

    Returns:
        An iterator that yields each item unchanged.

    >>> from pathlib import Path
    >>> from osd_edge import check_digests, read_manifest
    >>> def by_line(items, label, total=None):
    ...     for number, item in enumerate(items, 1):
    ...         print(label, number)
    ...         yield item
    >>> check_digests(Path("base"), read_manifest(Path("base")), progress=by_line)
    Digests of the base package 1
    Digests of the base package 2
    Digests of the base package 3
    """

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yields each of `items`."""
        ...


def silent(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Shows nothing: the `Progress` of all functions that are not given another.

    Args:
        items: What the work goes through.
        label: Not shown.
        total: Not needed.

    Returns:
        An iterator that yields each item unchanged.

    >>> from osd_edge import silent
    >>> list(silent("abc", "Letters"))
    ['a', 'b', 'c']
    """
    yield from items
