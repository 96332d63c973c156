"""A base package's folder that stays the same one while it is opened.

A package may be replaced, or copied over, at the moment that someone opens it. Linux can hold a
folder whatever its name comes to stand for; elsewhere, and for files that are written in place,
what was looked at before is compared with what is there afterwards.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.own_errors import let_pass
from osd_edge.data.staging import bring_back
from osd_edge.errors import BaseError
from osd_edge.formats.package.refusals import a_link, not_a_package, restless, too_large, wrong_size

_MOST_TRIES = 3
_MOST_BYTES = (1 << 31) - 1  # of a file that is read whole; a graph has no more either
_HELD = Path("/proc/self/fd")  # a folder that is open, by its number
# A file of a hub's cache: `<repo>/snapshots/<revision>/FILE` is a link to `../../blobs/<hash>`.
_HUB_LINK = re.compile(r"((?:\.\./){2,20})blobs/(?:[0-9a-f]{40}|[0-9a-f]{64})")


class Stamp(NamedTuple):
    """The facts that tell a file from others, and from itself when it was written to.

    `written` is when its bytes were, `changed` when anything of it was, which nobody can set back;
    both in nanoseconds.
    """

    device: int
    inode: int
    size: int
    written: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Takes the facts of a file's status."""
        times = (status.st_mtime_ns, status.st_ctime_ns)
        return cls(status.st_dev, status.st_ino, status.st_size, *times)


class OpenFolder:
    """A folder whose files are looked at one after the other, and must not change meanwhile.

    Attributes:
        path: The folder as the caller names it, for messages.
        root: Where its files are found: a name that stays its own.
    """

    def __init__(self, path: Path, real: Path, number: int | None) -> None:
        """Takes the folder, what it stands for without links, and its number where it is open."""
        self.path = path
        self.root = real if number is None else _HELD / str(number)
        self._real = real
        self._stamps: dict[str, Stamp | None] = {}
        self._renamed = self._last_renamed()

    def size(self, name: str) -> int | None:
        """Gives the bytes of file `name`, None where there is no such file.

        Raises BaseError `base.file` for a link that is not one of a hub's cache.
        """
        stamp = self._stamp(name)
        self._stamps.setdefault(name, stamp)
        return None if stamp is None else stamp.size

    def read(self, name: str, size: int) -> bytes:
        """Reads the file `name` of `size` bytes, below 2 GiB; raises BaseError `base.file`."""
        found = self.size(name)
        if size > _MOST_BYTES:
            raise too_large(self.path / name, size, _MOST_BYTES)
        data = None
        if found == size:
            try:
                data = read_bounded(self.root / name, size)
            except OSError as error:
                let_pass(error)
        if data is None or len(data) != size:
            raise wrong_size(self.path / name, found, size)
        return data

    def stamp(self, name: str) -> Stamp | None:
        """Gives what tells file `name` from others and from itself changed, as it was first."""
        return self._stamps[name]

    def file(self, name: str) -> Path:
        """Gives the path of file `name` over no link, as it is now."""
        return Path(os.path.realpath(self.root / name))

    def is_unchanged(self) -> bool:
        """Says whether every file that was looked at is still the one that it was."""
        try:
            return all(self._stamp(name) == stamp for name, stamp in self._stamps.items())
        except BaseError:
            return False

    def is_there(self) -> bool:
        """Says whether the path names this folder, and did so all the time."""
        try:
            return self.path.samefile(self.root) and self._last_renamed() == self._renamed
        except OSError as error:
            let_pass(error)
            return False

    def _last_renamed(self) -> int | None:
        """Gives when the folder last changed, which a rename does as well."""
        try:
            return self.root.stat().st_ctime_ns
        except OSError as error:
            let_pass(error)
            return None

    def _stamp(self, name: str) -> Stamp | None:
        file = self.root / name
        try:
            status = file.lstat()
            if stat.S_ISLNK(status.st_mode):
                link = file.readlink().as_posix()
                status = (self.root / link).lstat()
                if not self._is_of_a_hub(link) or not stat.S_ISREG(status.st_mode):
                    raise a_link(self.path / name)
        except OSError as error:  # a link may lead also to where nobody may look
            let_pass(error)
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Stamp.of(status)

    def _is_of_a_hub(self, link: str) -> bool:
        match = _HUB_LINK.fullmatch(link)
        if match is None:
            return False
        up = match[1].count("/")  # 2 from the snapshot itself, more from folders in it
        parts = self._real.parts
        return len(parts) > up and parts[-up] == "snapshots"


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[OpenFolder]:
    """Holds the folder `path`, which may be a link to one; raises BaseError `base.missing`."""
    try:
        real = Path(os.path.realpath(path))
        number = os.open(real, os.O_PATH | os.O_DIRECTORY) if _HELD.is_dir() else None
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        let_pass(error)
        why = getattr(error, "strerror", None) or "no name of a folder"
        raise not_a_package(path, why) from error
    try:
        yield OpenFolder(path, real, number)
    finally:
        if number is not None:
            os.close(number)


def open_unchanged(path: Path, open_it: Callable[[OpenFolder], None]) -> None:
    """Has `open_it` open the folder `path`, anew where its files changed meanwhile.

    Raises the BaseError of `open_it`, and `base.file` for a folder that keeps changing.
    """
    bring_back(path)
    for left in reversed(range(_MOST_TRIES)):
        with open_folder(path) as folder:
            try:
                open_it(folder)
            except BaseError:
                if not left or (folder.is_unchanged() and folder.is_there()):
                    raise
            else:
                if folder.is_unchanged():
                    return
    raise restless(path)
