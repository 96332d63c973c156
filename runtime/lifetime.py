"""The lifetime of a session: from its opening until `close`, in the one process that opened it.

A forked process has a copy of the session that cannot be trusted. Locks, those within onnxruntime
too, stay as other threads held them at that moment, and onnxruntime's own threads are not there: a
run in the child waits for ever if another thread was in one, and so does the end of a child whose
session had several threads. So there a session is refused before it is touched, and never freed.
It can open its own, for which a fork waits until other threads have opened theirs.
"""

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

try:
    import ctypes
except ImportError:  # a Python that was built without it
    ctypes = None  # type: ignore[assignment]

from osd_edge.errors import Code, TaskError

T = TypeVar("T")
R = TypeVar("R")

# Held while a session is opened. onnxruntime has a lock of its own then, for all of a process.
OPENING = threading.RLock()


class Lifetime(Generic[T]):
    """Holds what a session opened until it is closed, for the process that opened it alone.

    A call takes `content` once, when it begins, and so ends as it would have where another thread
    closes the session meanwhile; what is held is freed when the last such call has ended.
    """

    def __init__(self, content: T) -> None:
        """Begins with what was opened."""
        self._content: T | None = content
        self._process = os.getpid()
        _all_contents.add(content)

    @property
    def content(self) -> T:
        """The content. Raises TaskError `task.closed`, and `task.fork` in a forked process."""
        content = self._content
        if content is None:
            raise TaskError(Code.TASK_CLOSED, "the session is closed: open another")
        self.check_process()
        return content

    def check_process(self) -> None:
        """Refuses (TaskError `task.fork`) a forked process, of a session that may be closed."""
        if os.getpid() != self._process:
            raise TaskError(
                Code.TASK_FORK,
                "the session was opened before this process was forked: open one in this process, "
                "or start processes by the method 'spawn'",
            )

    def guarded(self, results: Iterator[R]) -> Iterator[R]:
        """Gives results that are made one after the other, but none in a forked process.

        Raises TaskError `task.fork`. The session may be closed meanwhile.
        """
        for result in results:
            yield result
            self.check_process()

    def close(self) -> None:
        """Lets go of what is held, and gives its memory back; once more changes nothing."""
        if self._content is not None:
            self._content = None
            _give_back()


def _give_back() -> None:
    # glibc may keep what was freed, 47 MiB after a session over MiniLM, unless it is asked. Other C
    # libraries cannot be asked.
    if sys.platform == "linux" and ctypes is not None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


_kept: list[object] = []
_all_contents: "weakref.WeakSet[object]" = weakref.WeakSet()


def _in_child() -> None:
    """Keeps what was held at a fork for as long as the child lives, until after its last line.

    To free it, onnxruntime would wait for threads and locks that only the parent has. What is kept
    is memory that the child shares with its parent.
    """
    OPENING.release()
    for content in list(_all_contents):
        if ctypes is None:
            _kept.append(content)  # all but to the last line
        else:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(content))


if hasattr(os, "register_at_fork"):  # not on Windows, where there is no fork
    os.register_at_fork(
        before=OPENING.acquire,
        after_in_parent=OPENING.release,
        after_in_child=_in_child,
    )
