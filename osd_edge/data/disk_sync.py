"""Waits until files and folders are on the disk, where a power cut cannot take them."""

import errno
import os
from pathlib import Path

# A file system that cannot do this for folders says so: there it is done with their files. A folder
# that may be written to and not be read cannot be opened for it.
_NOT_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)


def sync_file(path: Path) -> None:
    """Waits until what is in the file `path` is on the disk; raises OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the names in the folder `path` are on the disk; raises OSError.

    Does nothing on Windows, which has no such call, and where a folder cannot be opened for it.
    """
    if os.name != "posix":
        return
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in _NOT_OF_FOLDERS:
            raise


def sync_tree(path: Path) -> None:
    """Waits until the folder `path` is on the disk with all that is in it; raises OSError."""
    for entry in path.rglob("*"):
        if entry.is_dir():
            sync_folder(entry)
        elif entry.is_file():
            sync_file(entry)
    sync_folder(path)
