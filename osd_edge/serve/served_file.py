"""The file, or the bytes, that one address of the server gives."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


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

    def is_there(self) -> bool:
        """Says whether the file is still the one that was hashed."""
        if isinstance(self.source, bytes):
            return True
        try:
            status = self.source.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.written)


def served_file(
    source: Path | bytes, digest: str | None = None, *, fixed: bool = False
) -> ServedFile:
    """Makes one of `source`, hashed unless its sha256 `digest` is known already."""
    if isinstance(source, bytes):
        return ServedFile(source, len(source), digest or hashlib.sha256(source).hexdigest(), fixed)
    status = source.stat()
    if digest is None:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ServedFile(source, status.st_size, digest, fixed, status.st_mtime_ns)
