"""Runs a target on one input within its bounds of time and memory."""

import resource
import signal
import sys
import time
import traceback
import tracemalloc
import warnings
from pathlib import Path
from types import FrameType

from fuzz.limits import most_bytes, most_seconds
from fuzz.outcome import Fault, Observed, lines_of, refused
from fuzz.targets.target import Target
from fuzz.terminal import Terminal
from osd_edge.errors import OsdEdgeError

_ALARM = 10  # of so many times the bound, whatever runs is stopped


class _TooLong(BaseException):
    """The alarm's own exception, which no reader catches as one of its errors."""


class Guard:
    """A target opened in this process, with the process's address space limited."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Opens the target, whose files go to `folder`. For the main thread of a process."""
        self._target = target
        self._terminal = Terminal()
        self._run = target.opened(folder)
        signal.signal(signal.SIGPROF, _stop)
        warnings.simplefilter("error")  # what a reader would write to the terminal is a finding
        warnings.simplefilter("ignore", ResourceWarning)
        _limit(target.headroom)

    def outcome(self, data: bytes) -> Observed:
        """Gives the outcome of an input; raises Fault."""
        most = most_seconds(len(data), self._target.seconds)
        signal.setitimer(signal.ITIMER_PROF, _ALARM * most)
        self._terminal.turn_away()
        begin = time.process_time()
        written = ""
        try:
            outcome = self._outcome(data)
            took = time.process_time() - begin
        except _TooLong:
            raise Fault("takes too long", f"stopped after {_ALARM * most:.1f} s") from None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            written = self._terminal.turn_back()
        if written and not self._target.talks:
            raise Fault("writes to the terminal", written)
        if took > most:
            raise Fault("takes too long", f"{took:.2f} s of {most:.2f} s, {outcome.code}")
        return outcome

    def check_memory(self, data: bytes) -> None:
        """Runs an input again with its memory counted; raises Fault where it takes too much."""
        if not self._target.counted:
            return
        tracemalloc.start()
        self._terminal.turn_away()
        try:
            self._outcome(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            self._terminal.turn_back()
        if peak > most_bytes(len(data)):
            detail = f"{peak} bytes of {most_bytes(len(data))}, for {len(data)}"
            raise Fault("takes too much memory", detail)

    def close(self) -> None:
        """Closes what the guard has open; what it set in the process stays."""
        self._terminal.close()

    def _outcome(self, data: bytes) -> Observed:
        try:
            return self._run(data)
        except OsdEdgeError as error:
            return refused(error, self._target.kinds)
        except (Fault, KeyboardInterrupt, SystemExit, _TooLong):
            raise
        except BaseException as error:  # a panic of a package in Rust is no Exception
            lines = lines_of(error.__traceback__)
            title = f"{type(error).__name__} at {lines[-1] if lines else 'no line of ours'}"
            raise Fault(title, "".join(traceback.format_exception(error))) from None


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _limit(headroom: int) -> None:
    """Lets this process have so many bytes of address space more than it has."""
    if sys.platform != "linux":
        return  # where resident and reserved memory are not told apart
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + headroom, hard))
