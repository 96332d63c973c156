"""Reads a file that may come from anywhere: waits for no pipe, and takes no more than allowed."""

import errno
import os
import stat
from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes | None:
    """Reads the bytes of the file `path`; gives None where they are more than `most`.

    Kind and size are those of the file that was opened, so one that is replaced meanwhile changes
    nothing. One that grows while it is read gives one byte more than it had. Raises OSError, also
    for whatever is no file.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a file")
            return None if status.st_size > most else file.read(status.st_size + 1)
    except ValueError as error:  # a zero byte or half a surrogate pair in the name
        raise OSError(errno.EINVAL, "not a file's name") from error


def _open(path: str, flags: int) -> int:
    # Without it, opening a pipe waits until someone writes to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
