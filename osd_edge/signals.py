"""Ends a command in order when the system asks for it: what it has staged goes, and its children.

The system asks by SIGTERM, and by SIGHUP when a terminal is closed. Only the command line listens:
the handlers of a program that calls OSD Edge as a library are its own.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SIGNALS = ("SIGTERM", "SIGHUP")  # by name: Windows lacks the second
_TIDYING_SECONDS = 10.0
_AGAIN_SECONDS = 0.01  # until a signal is sent again whose exception Python could not raise


class Ended(SystemExit):
    """The command was asked to end; the exit code is 128 and the signal's number, as in a shell."""

    def __init__(self, number: int) -> None:
        """Takes the signal's number."""
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Raises Ended where a signal asks to end while this is entered.

    Signals that are ignored stay so (SIGHUP under nohup), and other threads than the main one
    cannot listen. A signal that arrives inside a finalizer, out of which Python raises nothing, is
    sent once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [number for number in (1, 2) if os.isatty(number)]
    asked: list[tuple[int, float]] = []  # by which signal, and when

    def end(number: int, _: FrameType | None) -> None:
        # A closed terminal asks twice, by its kernel and by its shell: tidying up goes on.
        if asked and time.monotonic() - asked[-1][1] < _TIDYING_SECONDS:
            return
        asked.append((number, time.monotonic()))
        _leave_closed(terminals)
        raise Ended(number)

    report = sys.unraisablehook

    def send_again(swallowed: "sys.UnraisableHookArgs") -> None:
        if not isinstance(swallowed.exc_value, Ended):
            report(swallowed)
            return
        number = swallowed.exc_value.signal
        asked.clear()
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    listening = [
        number
        for name in _SIGNALS
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in listening:
        signal.signal(number, end)
    sys.unraisablehook = send_again
    try:
        yield
    except BaseException as error:
        if asked and not isinstance(error, Ended):  # some library has made another one of it
            raise Ended(asked[0][0]) from error
        raise
    finally:
        sys.unraisablehook = report
        if not asked:  # else the process is about to end, and nothing may break into that
            for number in listening:
                signal.signal(number, signal.SIG_DFL)


def _leave_closed(terminals: list[int]) -> None:
    """Lets output go nowhere that went to a terminal which is gone: writing to it would fail."""
    for number in terminals:
        if not os.isatty(number):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
