"""Makes a folder for copies of models, on a disk that has room for them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osd_edge.data.disk_sync import sync_file
from osd_edge.data.file_lock import try_lock
from osd_edge.data.files import output_error
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code, DeviceError, OutputError

SPARE_BYTES = 64 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
_PREFIX = "osd-bench-"
_LOCK = ".lock"


@contextlib.contextmanager
def scratch_folder(chosen: str | None) -> Iterator[Path]:
    """Makes a folder in `chosen`, or where temporary files outlive memory, and removes it after.

    /var/tmp comes before /tmp, which on many devices is made of memory: models copied there
    would be counted twice. Raises OutputError.
    """
    parent = chosen
    if parent is None and "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        parent = "/var/tmp"
    place = Path(parent or tempfile.gettempdir())
    _remove_leftovers(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError as error:
        raise output_error(place, error) from error
    try:
        with (folder / _LOCK).open("wb") as lock:
            try_lock(lock)
            yield folder
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """Removes the folders of runs that were killed: nobody has the lock in them any more."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _LOCK).open("rb+") as lock:
            if not folder.is_symlink() and try_lock(lock) is True:
                shutil.rmtree(folder, ignore_errors=True)


def has_room(folder: Path, size: int) -> bool:
    """Tells whether `size` bytes more fit there with some left to the device."""
    return shutil.disk_usage(folder).free >= size + SPARE_BYTES


def check_room(folder: Path, size: int) -> None:
    """Refuses a folder without room (`output.disk-full`) or one in memory (`device.scratch`)."""
    if not has_room(folder, size):
        free = shutil.disk_usage(folder).free
        raise OutputError(
            Code.OUTPUT_DISK_FULL,
            f"expected {format_size(size + SPARE_BYTES)} free in {folder.parent}, found "
            f"{format_size(free)}: name another folder with --scratch",
        )
    if file_system(folder) in _IN_MEMORY:
        raise DeviceError(
            Code.DEVICE_SCRATCH,
            f"{folder.parent} is made of memory, which models copied there would take twice: "
            "name a folder on a disk with --scratch",
        )


def copy_to_disk(source: Path, to: Path) -> None:
    """Copies a file and waits until it is on the disk: memory then has no unwritten page of it."""
    to.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, to)
    sync_file(to)


def file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Names the kind of file system that `folder` is on; None where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found: tuple[int, str | None] = (0, None)
    for line in lines:
        fields = line.split()
        if len(fields) > 2 and folder.resolve().is_relative_to(fields[1]):
            found = max(found, (len(fields[1]), fields[2]), key=lambda entry: entry[0])
    return found[1]
