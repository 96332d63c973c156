"""Progress bars on standard error, all on one line: work within other work says which part it is.

`3/27 · Refining scales  [####------]  40%  00:01:10` is the third of 27 steps, and how far it is.
"""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import TypeVar

from osd_edge.errors import shown

T = TypeVar("T")

_WIDTH = 30  # of the bar alone; 10 where the terminal is narrow
_NARROW = 10
_LEAST_LABEL = 12
_SURE_SECONDS = 1.0  # after which the time that is left is told


class _Steps:
    """The steps of one bar: how many are done, of how many if that is known."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._began = time.monotonic()

    @property
    def at(self) -> str:
        """The step that is at work, for what is within it."""
        return f"{self.done + 1}" + ("" if self.total is None else f"/{self.total}")

    def line(self, outer: str, columns: int) -> str:
        """Draws the bar behind the steps of the outer ones, in at most `columns`."""
        tail = self._left()
        bar = _WIDTH
        if columns < len(outer + self.label) + bar + len(tail) + 6:
            bar = _NARROW
        room = columns - bar - len(tail) - 6
        label = shown(outer + self.label, max(room, _LEAST_LABEL))
        return f"{label}  [{self._bar(bar)}]  {tail}".rstrip()[:columns]

    def _bar(self, width: int) -> str:
        if self.total is None:
            return "-" * width
        full = width * min(self.done, self.total) // self.total if self.total else width
        return "#" * full + "-" * (width - full)

    def _left(self) -> str:
        """Tells the share that is done, and after a while the time that is left."""
        if self.total is None:
            return f"{self.done}"
        share = f"{100 * min(self.done, self.total) // max(self.total, 1):3}%"
        spent = time.monotonic() - self._began
        if not 0 < self.done < self.total or spent < _SURE_SECONDS:
            return share
        left = int(spent / self.done * (self.total - self.done))
        return f"{share}  {left // 3600:02}:{left // 60 % 60:02}:{left % 60:02}"


_open: list[_Steps] = []  # the outer ones first
_drawn = ""  # the line that a terminal shows


def bar(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Draws a progress bar on standard error; where that is no terminal, a line with its label."""
    hint = length_hint(items, -1) if total is None else total
    steps = _Steps(label, None if hint < 0 else hint)
    _open.append(steps)
    try:
        if sys.stderr.isatty():
            _draw()
        else:
            print(f"{_outer(steps)}{label}", file=sys.stderr, flush=True)
        for item in items:
            yield item
            steps.done += 1
            _draw()
    finally:
        if _open == [steps]:
            leave_bars()
        elif steps in _open:
            _open.remove(steps)
            _draw()  # the outer one again


def _outer(steps: _Steps) -> str:
    """The steps of the bars around `steps`, each before a dot."""
    return "".join(f"{one.at} · " for one in _open[: _open.index(steps)])


def _draw() -> None:
    """Draws the innermost bar, where a terminal shows another line."""
    global _drawn
    if not sys.stderr.isatty():
        return
    innermost = _open[-1]
    line = innermost.line(_outer(innermost), shutil.get_terminal_size().columns - 1)
    if line != _drawn:
        print(f"\r{line:<{len(_drawn)}}", end="", file=sys.stderr, flush=True)
        _drawn = line


def leave_bars() -> None:
    """Leaves the line of whatever bars are open, so that what is printed begins a new one.

    What an error ends has not closed its bars yet when the error is told.
    """
    global _drawn
    _open.clear()
    if _drawn:
        print(file=sys.stderr, flush=True)
        _drawn = ""
