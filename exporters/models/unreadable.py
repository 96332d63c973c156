"""Says in a line why a file of a model cannot be read, for a refusal."""

from pathlib import Path

from osd_edge.errors import shown

# The first bytes of what git has in a file's place where git lfs did not fetch it.
_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "a Git-LFS pointer, not the file itself: run git lfs pull in that folder"


def is_lfs_pointer(path: Path) -> bool:
    """Says whether `path` is what git lfs has in the place of a file that was not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except (OSError, ValueError):
        return False


def why_unreadable(path: Path, error: Exception) -> str:
    """Why a library could not read `path`: the system's word on it first, then the library's."""
    try:
        path.open("rb").close()
    except (OSError, ValueError) as own:
        return getattr(own, "strerror", None) or str(own)
    if is_lfs_pointer(path):
        return f"it is {LFS_POINTER}"
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of another library's exception, fit for a message."""
    lines = str(error).strip().splitlines()
    return shown(lines[0], 160) if lines else type(error).__name__
