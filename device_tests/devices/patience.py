"""Ends a program that has been waited for too long: a device may fall silent at any moment."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Patience:
    """Waits for `process`, and ends it where it does not do its part in time.

    What was waited for then ends, as where a connection breaks; `over` tells the two apart.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.over: float | None = None  # the seconds that were too long

    @contextmanager
    def waiting(self, seconds: float) -> Iterator[None]:
        """Gives the block that is entered so many seconds."""
        timer = threading.Timer(seconds, self.end, (seconds,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end(self, seconds: float) -> None:
        """Ends the process now, after so many seconds."""
        self.over = seconds
        self._process.kill()
