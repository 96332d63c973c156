"""Keeps folders that take minutes to make, in the user's cache, named by what they hold."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from osd_edge.data.files import make_folder, output_error

_STALE_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/osd-edge`, or `~/.cache/osd-edge` without a usable variable."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".cache") / "osd-edge"


def cached(name: str, inputs: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Returns the folder that `make` fills, made once for each list of `inputs`.

    It has its name only when it is whole, so an interrupted `make` is made again. Folders of
    this `name` that nobody asked for within a day are removed. Raises OutputError, and what
    `make` raises.
    """
    root = cache_folder()
    make_folder(root)
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    folder = root / f"{name}-{key}"
    if not folder.is_dir():
        staging = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}-"))
        try:
            make(staging)
            staging.chmod(0o755)
            # Where another process was quicker, its folder is as good as this one.
            with contextlib.suppress(FileExistsError):
                staging.rename(folder)
        except OSError as error:
            if folder.is_dir():  # a rename onto a folder that is not empty
                return folder
            raise output_error(folder, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    os.utime(folder)
    _remove_stale(root, name)
    return folder


def _remove_stale(root: Path, name: str) -> None:
    oldest = time.time() - _STALE_SECONDS
    for pattern in (f"{name}-*", f".{name}-*"):
        for folder in root.glob(pattern):
            with contextlib.suppress(OSError):  # another process may have removed it
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
