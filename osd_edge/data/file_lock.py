"""Locks a file as long as its process lives, so that one that was killed holds nobody up."""

import errno
import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


def try_lock(file: IO[bytes]) -> bool | None:
    """Locks an open file at once or not at all; the lock goes when the file is closed.

    It is True where the lock is ours now, False where it is someone else's, another thread's of
    this process too, and None where the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True
