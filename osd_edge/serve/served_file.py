"""The file, or the bytes, that one address of the server gives."""

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class ServedFile:
    """A file of the disk, or bytes, that an address gives; `tag` is the sha256 of either.

    `fixed` ones have their digest in the address, so they never change. `written` is when a
    file was, in nanoseconds: one that was replaced since is not what the digest says.
    """

    source: Path | bytes
    size: int
    tag: str
    fixed: bool = False
    written: int = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO | None]:
        """Opens the file, or gives None where it is not the one that was hashed.

        What is open is asked, not the path: between a look at a path and its opening another
        file, or a link to one, may have come there.
        """
        if isinstance(self.source, bytes):
            yield io.BytesIO(self.source)
            return
        try:
            file = _open_file(self.source)
        except OSError:
            yield None
            return
        with file:
            status = os.fstat(file.fileno())
            same = (status.st_size, status.st_mtime_ns) == (self.size, self.written)
            yield file if same else None


def served_file(
    source: Path | bytes, digest: str | None = None, *, fixed: bool = False
) -> ServedFile:
    """Makes one of `source`, hashed unless its sha256 `digest` is known already.

    A link stands for the file that it leads to now, and is not followed again later.
    """
    if isinstance(source, bytes):
        return ServedFile(source, len(source), digest or hashlib.sha256(source).hexdigest(), fixed)
    source = source.resolve(strict=True)
    with _open_file(source) as file:
        status = os.fstat(file.fileno())
        if digest is None:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ServedFile(source, status.st_size, digest, fixed, status.st_mtime_ns)


def _open_file(path: Path) -> io.BufferedReader:
    """Opens a regular file; raises OSError for a link, and for a pipe, without waiting for it."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # as the system has them
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a file")
    return os.fdopen(descriptor, "rb")
