"""Puts a folder in the place of another one, in a single step where the system has such a step."""

import errno
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD, which means nothing beside an absolute path
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, and RENAME_SWAP of macOS

# The system or the file system does not know the step, or a sandbox does not know it (EPERM).
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def replace_folder(new: Path, path: Path, aside: Path) -> None:
    """Renames the folder `new` to `path`, and a folder that is there to `new`, or to `aside`.

    `aside` is for where two names cannot be exchanged: for a moment nothing is at `path` then, and
    a process that is killed in it leaves the old folder there, whole. Raises OSError, also where
    something else than a folder is at `path`.
    """
    if not path.is_dir():
        new.rename(path)
    elif not exchange(new, path):
        path.rename(aside)
        new.rename(path)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges what two absolute paths name, in one step; False where that cannot be done.

    Raises OSError.
    """
    names = os.fsencode(one), os.fsencode(other)
    try:
        import ctypes  # here, since who only reads has no use for it, and a Python may lack it

        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            failed = libc.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE)
        elif sys.platform == "darwin":
            libc = ctypes.CDLL(None, use_errno=True)
            failed = libc.renamex_np(*names, _EXCHANGE)
        else:
            return False
    except (ImportError, AttributeError):  # a Python without ctypes, a C library without the call
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(other))
