"""Tells a library's exceptions from the caller's own, which pass through the session unchanged.

A time-out of the caller's may come at any line: from a signal handler, or set by another thread.
What another thread sets within the library is told by its type alone: one of the caller's own, or
TimeoutError.
"""

from types import TracebackType

_PANICS = "pyo3_runtime"  # the module of what Rust raises where it gives up


def raised_by(library: str, error: BaseException) -> bool:
    """Says whether the package `library`, called where `error` is caught, raised it.

    So it is of one of the library's types; or of one of Python's, but no TimeoutError, and it comes
    out of the call itself or of a line of the library's, and not of somebody else's function.
    """
    kind = type(error)
    if kind.__module__.partition(".")[0] in (library, _PANICS):
        return True
    if kind.__module__ != "builtins" or isinstance(error, TimeoutError):
        return False
    return isinstance(error, Exception) and _innermost_is_of(library, error.__traceback__)


def _innermost_is_of(library: str, trace: TracebackType | None) -> bool:
    innermost = trace
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None or innermost is trace:
        return True
    module = str(innermost.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == library
