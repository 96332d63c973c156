"""Keeps one ssh connection to the agent on a device, and turns ssh's errors into refusals."""

import json
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osd_edge.device_tests.devices import agent
from osd_edge.device_tests.devices.answers import Facts, read_answers, read_facts
from osd_edge.device_tests.devices.patience import Patience
from osd_edge.device_tests.devices.ssh_target import SshTarget
from osd_edge.errors import Code, DeviceError, shown

_PIECE = 1 << 20
_HELLO_SECONDS = 60.0
_SILENT_SECONDS = 120.0  # the agent says every few seconds that it is there
_NEWS_SECONDS = 4 * 3600.0  # of the run itself, whose longest scenario takes minutes
_END_SECONDS = 10.0
_ERROR_BYTES = 4096  # of a line that ssh or the device says went wrong
_START = "import sys;b=sys.stdin.buffer;exec(b.read(int(b.readline())))"
# What ssh says, in the order to look for it: a code, and what to do.
_REASONS = (
    ("host key verification failed", Code.DEVICE_HOST_KEY, "log in once by hand to accept its key"),
    ("remote host identification has", Code.DEVICE_HOST_KEY, "its key is not the one known for it"),
    (
        "permission denied",
        Code.DEVICE_DENIED,
        "it does not accept this user with this key: key=FILE",
    ),
    ("too many authentication failures", Code.DEVICE_DENIED, "name the one key to try: key=FILE"),
    ("load key", Code.DEVICE_DENIED, "the key cannot be read: name another with key=FILE"),
    ("could not resolve", Code.DEVICE_UNREACHABLE, "is the name right?"),
    ("connection refused", Code.DEVICE_UNREACHABLE, "is it on, with an ssh server at this port?"),
    ("timed out", Code.DEVICE_UNREACHABLE, "is it on, and on this network?"),
    ("no route to host", Code.DEVICE_UNREACHABLE, "is it on, and on this network?"),
    ("network is unreachable", Code.DEVICE_UNREACHABLE, "is this machine on its network?"),
)


class SshConnection:
    """Talks to the agent on a device: `ask` it, `send` it an archive, read its `answers`."""

    def __init__(self, target: SshTarget, process: "subprocess.Popen[bytes]") -> None:
        self._target = target
        self._process = process
        self._patience = Patience(process)
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def start(self, source: bytes) -> None:
        """Sends the agent itself."""
        self._write(b"%d\n" % len(source) + source)

    def ask(self, **request: Any) -> None:
        """Sends one request."""
        self._write(json.dumps(request).encode() + b"\n")

    def send(self, archive: Path) -> None:
        """Sends a file raw, after the request that says how long it is."""
        with archive.open("rb") as file:
            while piece := file.read(_PIECE):
                self._write(piece)

    def answers(self, first_seconds: float | None = None) -> Iterator[dict[str, Any]]:
        """Reads what the agent says until it ends, the first within `first_seconds` if given.

        Raises DeviceError where it says that it failed, and `device.lost` where it falls silent.
        """
        assert self._process.stdout is not None
        answers = read_answers(self._process.stdout, self._target.host)
        news = time.monotonic()
        seconds = first_seconds
        while True:
            with self._patience.waiting(_SILENT_SECONDS if seconds is None else seconds):
                answer = next(answers, None)
            seconds = None
            if answer is None:
                self._check_patience()
                return
            if "alive" not in answer:
                news = time.monotonic()
                yield answer
            elif time.monotonic() - news > _NEWS_SECONDS:
                self._patience.end(_NEWS_SECONDS)
                self._check_patience()

    def hello(self) -> Facts:
        """Reads the agent's first facts, within `_HELLO_SECONDS`. Raises DeviceError."""
        try:
            hello = self.answer("hello", _HELLO_SECONDS)
        except DeviceError:
            if self._patience.over is None:
                raise
            raise DeviceError(
                Code.DEVICE_UNREACHABLE,
                f"{shown(self._target.host)} gave no answer in {_HELLO_SECONDS:g} s: "
                "does it run Python when you log in by hand?",
            ) from None
        return read_facts(hello, self._target.host)

    def answer(self, name: str, seconds: float | None = None) -> Any:
        """Reads the next answer, which must be `name`. Raises DeviceError without a device."""
        for answer in self.answers(seconds):
            if name in answer:
                return answer[name]
        raise self.lost()

    def lost(self) -> DeviceError:
        """Explains why there is no connection, or none any longer."""
        self._check_patience()
        code = self._end()
        self._reader.join(5)
        host = shown(self._target.host)
        output = "\n".join(self._errors).lower()
        for words, refusal, hint in _REASONS:
            if code == 255 and words in output:
                return DeviceError(refusal, f"cannot log in to {host}: {hint} ({self._last()})")
        if code == 127:
            return DeviceError(
                Code.DEVICE_PYTHON,
                f"{host} has no program {shown(self._target.python)!r}: install Python 3.11 or "
                "later there, or name it with python=PROGRAM",
            )
        if code == 255:
            return DeviceError(
                Code.DEVICE_LOST, f"the connection to {host} broke ({self._last()}): try again"
            )
        return DeviceError(
            Code.DEVICE_PYTHON,
            f"{shown(self._target.python)} failed on {host} ({self._last()}): log in by "
            "hand and start it",
        )

    def _check_patience(self) -> None:
        """Refuses (`device.lost`) a device that fell silent, and was given up for it."""
        seconds = self._patience.over
        if seconds is not None:
            raise DeviceError(
                Code.DEVICE_LOST,
                f"{shown(self._target.host)} fell silent: expected to hear of it, found nothing "
                f"for {seconds:g} s; is it on, awake and on this network? Log in by hand to see",
            )

    def _end(self) -> int:
        """Waits for the exit code; a program that says no more and stays is ended."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last(self) -> str:
        return shown(self._errors[-1], 160) if self._errors else "ssh gave no reason"

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            with self._patience.waiting(_SILENT_SECONDS):  # a device may stop reading, too
                self._process.stdin.write(data)
                self._process.stdin.flush()
        except BrokenPipeError as error:
            for _ in self.answers():  # what the agent had to say before it ended
                pass
            raise self.lost() from error

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while line := self._process.stderr.readline(_ERROR_BYTES):
            text = line.decode(errors="replace").strip()
            if text:
                self._errors.append(text)
                del self._errors[:-20]


@contextmanager
def connect(target: SshTarget) -> Iterator[SshConnection]:
    """Starts the agent on the device; however the block is left, the agent tidies up and ends.

    Raises DeviceError `device.tool` where there is no ssh here.
    """
    if shutil.which("ssh") is None:
        raise DeviceError(Code.DEVICE_TOOL, "there is no ssh here: apt-get install openssh-client")
    source = Path(agent.__file__).read_bytes() + f"\nserve({target.folder!r})\n".encode()
    remote = f"exec {shlex.quote(target.python)} -u -c {shlex.quote(_START)}"
    with subprocess.Popen(
        target.command(remote),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        connection = SshConnection(target, process)
        try:
            connection.start(source)
            yield connection
        finally:
            assert process.stdin is not None
            try:
                process.stdin.close()  # the agent takes this as the end
                process.wait(_END_SECONDS)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                process.terminate()
