"""Keeps what is made for an output, until it is whole, in one hidden folder beside it.

For the output NAME that is `.NAME.osd-edge`, on the same file system, so that renames suffice. One
run at a time is at work in it, by a lock that goes when its process ends, however it ends: what
lies there unlocked was left by a run that was killed, and the next one removes it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from osd_edge.data.file_lock import try_lock
from osd_edge.errors import Code, OutputError

NEW = "new"  # filled, then renamed to the output
OLD = "old"  # the output that was, always whole: brought back where its successor never came
_STALE = "stale"  # the same on its way out
_LOCK = "lock"
_OURS = {NEW, OLD, _STALE, _LOCK}

_MOST_NAME_BYTES = 120  # longer ones would not leave room for what is added to them
_POLL_SECONDS = 0.01
_MOMENT_SECONDS = 0.1  # for one that is just going, or looking whether anybody is there
_READER_SECONDS = 1.0


@contextlib.contextmanager
def staging_beside(path: Path, *, wait_seconds: float = _MOMENT_SECONDS) -> Iterator[Path]:
    """Gives the staging folder of the output `path`, free of leftovers; removes it in the end.

    `path` is absolute, and free of links. Raises OutputError: `output.busy` where another run
    still has the folder after `wait_seconds`, `output.exists` where it is not one of ours; and
    OSError.
    """
    folder = _folder_of(path)
    lock: IO[bytes] | None = None
    process = os.getpid()
    left = False
    try:
        try:
            lock = _locked(folder, path, wait_seconds)
            _clear(folder, path)
            yield folder
        finally:
            if os.getpid() == process:  # in a forked child the folder is its parent's
                _leave(folder, path, lock)
            left = True
    finally:
        if not left and os.getpid() == process:
            # A signal, say, in the midst of it: nothing is to be left even so.
            _leave(folder, path, lock)


def bring_back(path: Path) -> None:
    """Puts back the output at `path` where a run was killed that was about to replace it.

    Only where two names cannot be exchanged in one step is there anything to do, and where this
    process may not do it, nothing is done.
    """
    if os.path.lexists(path):
        return
    with contextlib.suppress(OSError, ValueError, OutputError):
        real = Path(os.path.realpath(path))
        if os.path.lexists(_folder_of(real) / OLD):
            # A run that is at work needs no more than a moment to put the new one there.
            with staging_beside(real, wait_seconds=_READER_SECONDS):
                pass


def _folder_of(path: Path) -> Path:
    name = os.fsencode(path.name)
    if len(name) > _MOST_NAME_BYTES:
        return path.with_name(f".{hashlib.sha256(name).hexdigest()[:32]}.osd-edge")
    return path.with_name(f".{path.name}.osd-edge")


def _locked(folder: Path, path: Path, wait_seconds: float) -> IO[bytes]:
    """Makes the folder, or enters one that nobody is at work in; returns the lock's open file."""
    deadline = time.monotonic() + wait_seconds
    while True:
        made = _make(folder)
        lock: IO[bytes] | None = None
        try:
            if not made:
                _check_ours(folder)
            lock = _lock_file(folder)
            taken = try_lock(lock)
            if taken is None:  # without locks, a folder that was there may be someone's
                taken = made
            if taken and _is_at(lock, folder / _LOCK):
                return lock
            lock.close()
        except BaseException as error:
            if lock is not None:
                lock.close()
            if not isinstance(error, FileNotFoundError):
                raise
            # Whoever had the folder has just removed it, or its lock is a link to nothing.
        if time.monotonic() >= deadline:
            raise OutputError(
                Code.OUTPUT_BUSY,
                f"another run is at work on {path}, in {folder.name}: wait for it, or name "
                "another output",
            )
        time.sleep(_POLL_SECONDS)


def _lock_file(folder: Path, *, make: bool = True) -> IO[bytes]:
    """Opens the lock's file: no link is followed, and no pipe is waited for."""
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags = os.O_RDWR | careful | (os.O_CREAT if make else 0)
    file = os.fdopen(os.open(folder / _LOCK, flags, 0o666), "rb+", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "its lock is no file")
    return file


def _make(folder: Path) -> bool:
    """Makes the folder, closed to other users; says whether it was not there."""
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return False
    return True


def _check_ours(folder: Path) -> None:
    """Refuses a folder with other things in it, or of someone who could lead us astray.

    Owners are trusted who own the parent as well: some file systems know no others.
    """
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode)
    if hasattr(os, "geteuid"):
        ours = ours and status.st_uid in (os.geteuid(), folder.parent.stat().st_uid)
    if not ours or not {entry.name for entry in folder.iterdir()} <= _OURS:
        raise OutputError(
            Code.OUTPUT_EXISTS,
            f"{folder} is not a staging folder of this user: delete it, or name another output",
        )


def _is_at(lock: IO[bytes], path: Path) -> bool:
    return os.path.samestat(os.fstat(lock.fileno()), path.stat())


def _clear(folder: Path, path: Path) -> None:
    """Removes all but the lock, after the old output is back where there is no new one."""
    if os.path.lexists(folder / OLD):
        # Before it is removed it loses its name, by which only a whole one is known.
        to = folder / _STALE if os.path.lexists(path) else path
        _remove(folder / _STALE)
        (folder / OLD).rename(to)
    _remove(folder / _STALE)
    _remove(folder / NEW)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _leave(folder: Path, path: Path, lock: IO[bytes] | None) -> None:
    """Removes the folder, unless another run is in it; what cannot be removed waits for the next.

    `lock` is None, or closed, where a signal came between locking and knowing it, or in here.
    """
    posix = os.name == "posix"
    with contextlib.suppress(OSError, OutputError):
        if lock is None or lock.closed:
            _check_ours(folder)
            lock = _lock_file(folder, make=False)
            if try_lock(lock) is not True:
                lock.close()
                return
        with lock:
            if _is_at(lock, folder / _LOCK):
                _clear(folder, path)
                if posix:  # before anybody can have locked it
                    (folder / _LOCK).unlink()
    with contextlib.suppress(OSError):
        if not posix:  # no open file can be removed there, so nobody's lock is
            (folder / _LOCK).unlink()
        folder.rmdir()
