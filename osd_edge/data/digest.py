"""The digest by which a file is told from others."""

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """Gives the SHA-256 of a file's bytes, in 64 hex digits; raises OSError.

    >>> Path("empty").touch()
    >>> file_digest(Path("empty"))[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
