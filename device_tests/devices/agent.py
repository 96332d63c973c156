"""Runs on a device while it is measured over ssh: it is sent there and never installed.

It talks over the one ssh connection: requests come as lines of JSON on standard input (a file
follows its line raw), answers go out as lines of JSON behind `MARK`, so that what a login shell
prints is not mistaken for them. Whatever ends the connection also ends the run and removes the
folder. Standard library only, and no syntax newer than Python 3.6: a device whose Python is too
old must still be able to say so.
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from typing import Any, BinaryIO, Dict, List, Optional

MARK = "osd-edge-agent "
_POLL_SECONDS = 0.25
_ALIVE_SECONDS = 10.0
_PACKAGES = ("numpy", "onnxruntime", "osd-edge")
_lock = threading.Lock()


def say(**message: Any) -> None:
    """Sends one answer, whole, whichever thread it is from."""
    with _lock:
        sys.stdout.write(MARK + json.dumps(message) + "\n")
        sys.stdout.flush()


def facts(folder: str) -> Dict[str, Any]:
    """Tells what decides which wheels run here, and how many bytes are free under `folder`."""
    kind, version = platform.libc_ver()
    return {
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "python": list(sys.version_info[:2]),
        "glibc": [int(part) for part in version.split(".")[:2]] if kind == "glibc" else None,
        "packages": {name: _version(name) for name in _PACKAGES},
        "free_bytes": shutil.disk_usage(folder).free,
    }


def _version(name: str) -> Optional[str]:
    try:
        from importlib import metadata

        return metadata.version(name)
    except Exception:  # not installed, or a Python without that module
        return None


def serve(parent: Optional[str]) -> None:
    """Answers requests until one says to run; then runs it and ends.

    Files go to a folder in `parent`, None for the home folder: /tmp is memory on some devices.
    """
    ended = threading.Event()

    def tell_alive() -> None:
        # Long work makes no sound of its own, and a machine that hangs makes none either.
        with contextlib.suppress(OSError):
            while not ended.wait(_ALIVE_SECONDS):
                say(alive=True)

    alive = threading.Thread(target=tell_alive, daemon=True)
    alive.start()
    try:
        _serve(parent)
    finally:
        ended.set()
        alive.join(_POLL_SECONDS)


def _serve(parent: Optional[str]) -> None:
    parent = os.path.expanduser("~" if parent is None else parent)
    source = sys.stdin.buffer
    try:
        say(hello=facts(parent))
        folder = tempfile.mkdtemp(prefix="osd-edge-", dir=parent)
    except OSError as error:
        say(error={"code": "device.folder", "message": str(error)})
        return
    try:
        while True:
            line = source.readline()
            if not line:
                return
            request = json.loads(line.decode())
            if "archive_bytes" in request:
                _unpack(source, request["archive_bytes"], folder)
                say(unpacked=folder)
            else:
                _run(request["run"], request["environment"], request["report"], folder)
                return
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(error={"code": "device.space" if full else "device.folder", "message": str(error)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Limited:
    """The next `size` bytes of `source`, as a file that tarfile can read in one pass."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted)
        self._left -= len(data)
        return data


def _unpack(source: BinaryIO, size: int, folder: str) -> None:
    part: Any = _Limited(source, size)
    safe: Dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(fileobj=part, mode="r|gz") as archive:
        archive.extractall(folder, **safe)
    part.read()


def _run(command: List[str], environment: Dict[str, str], report: str, folder: str) -> None:
    """Runs `command` in `folder` and sends its lines, its report whenever it changed, its exit."""
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(os.environ, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # it has processes of its own: they must go with it
    )

    def stop(*_: Any) -> None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)

    for name in ("SIGHUP", "SIGTERM", "SIGPIPE"):
        signal.signal(getattr(signal, name), stop)

    def watch_connection() -> None:
        # Not `sys.stdin`: its lock, held by a thread that waits, makes Python abort at its end.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    def pass_lines() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            with contextlib.suppress(OSError):
                say(line=line.decode(errors="replace").rstrip())

    threading.Thread(target=watch_connection, daemon=True).start()
    lines = threading.Thread(target=pass_lines, daemon=True)
    lines.start()
    seen = None
    try:
        while True:
            ended = child.poll() is not None
            seen = _tell_report(os.path.join(folder, report), seen)
            if ended:
                break
            time.sleep(_POLL_SECONDS)
        lines.join(5)
        say(exit=child.returncode)
    finally:
        stop()
        child.wait()


def _tell_report(path: str, seen: Any) -> Any:
    """Sends the report where it is not the one that was `seen`; it is only ever replaced whole."""
    try:
        with open(path, encoding="utf-8") as file:
            stamp = os.fstat(file.fileno()).st_mtime_ns, os.fstat(file.fileno()).st_ino
            if stamp != seen:
                say(report=file.read())
    except FileNotFoundError:
        return seen
    return stamp
