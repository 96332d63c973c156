"""A folder of finished work, kept beside an export's output until that is written.

An export that was broken off takes up from there. A folder is one export's at a time: a lock that
ends with its process says so.
"""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from osd_edge.data.files import make_folder, output_error
from osd_edge.errors import Code, OutputError

_MARK = "osd-edge-work"  # a file that says that the folder is ours to empty
_LOCK = "lock"


class WorkFolder:
    """The folder `path`, as long as an export is at work in it."""

    def __init__(self, path: Path) -> None:
        """Make the folder, or go on in it.

        Raises OutputError: `output.exists` where it is not one of ours, `output.busy` where
        another export is at work in it.
        """
        self.path = path
        self._lock = FileLock(path / _LOCK, timeout=0)
        try:
            others = any(p.name != _LOCK for p in path.iterdir()) if path.exists() else False
            if others and not (path / _MARK).is_file():
                raise OutputError(
                    Code.OUTPUT_EXISTS,
                    f"{path} is there, and not of a broken-off export: delete it, or "
                    "name another output",
                )
            while True:
                make_folder(path)
                (path / _MARK).touch()
                self._lock.acquire()
                if (path / _MARK).is_file():
                    return
                self._lock.release()  # its last export has just deleted it
        except Timeout:
            raise OutputError(
                Code.OUTPUT_BUSY,
                f"another export is at work in {path}: wait for it, or name another file",
            ) from None
        except OSError as error:
            raise output_error(path, error) from error

    def release(self) -> None:
        """Let another export go on in the folder."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder: its output is written, or will never be."""
        for file in self.path.glob("*.safetensors"):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)  # the mark goes when nothing else is there
        self.release()
