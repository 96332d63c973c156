"""Makes and reads the machine's disks: ext4 in a file, never mounted, so without root."""

from pathlib import Path

from osd_edge.device_tests.emulated.tools import run_tool
from osd_edge.errors import Code, DeviceError

_BLOCK = 4096
_OVERHEAD = 16 * 2**20  # what ext4 takes for itself on disks of these sizes


def make_disk(path: Path, folder: Path, *, free_bytes: int = 0) -> None:
    """Makes the disk `path` with what is in `folder` and about `free_bytes` of space besides.

    Without a journal: it is only ever written by one machine that is thrown away. Raises
    DeviceError `device.space` where this machine's own disk is full, or `device.build`.
    """
    size = used_bytes(folder) * 21 // 20 + free_bytes + _OVERHEAD
    blocks = -(-size // _BLOCK)
    options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-b", str(_BLOCK)]
    run_tool("mke2fs", *options, "-E", "root_owner=0:0", "-d", folder, path, str(blocks))


def read_folder(disk: Path, name: str, into: Path) -> None:
    """Copies folder `name` at the top of `disk` to `into`. Raises DeviceError `device.build`."""
    run_tool("debugfs", "-R", f'rdump /{name} "{into}"', disk)
    if not (into / name).is_dir():
        raise DeviceError(Code.DEVICE_BUILD, f"the machine's disk has no folder {name}")


def used_bytes(folder: Path) -> int:
    """Sums the bytes that the files below `folder` take on a disk, in whole blocks."""
    sizes = (p.lstat().st_size for p in folder.rglob("*"))
    return sum(-(-size // _BLOCK) * _BLOCK + 256 for size in sizes)
