"""Reading a file that may come from anywhere: no pipe is waited for, nothing grows without end."""

import errno
import os
import stat
from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes | None:
    """The bytes of the file `path`, None where they are more than `most`.

    What is asked is what was opened, so a file that is replaced meanwhile changes nothing. One
    that grows while it is read gives one byte more than it had. Raises OSError, also for whatever
    is no file.
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
