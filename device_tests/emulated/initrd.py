"""The machine's first file system: a cpio archive with busybox, four modules and a script."""

import gzip
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = ("bin", "dev", "modules", "proc", "root", "sys")
_MODULES = ("virtio", "virtio_ring", "virtio_mmio", "virtio_blk")


def make_initrd(busybox: Path, modules: Path) -> bytes:
    """Makes the archive, compressed; `modules` is the kernel's folder of modules."""
    entries = [(name, 0o040755, b"") for name in _FOLDERS]
    entries.append(("bin/busybox", 0o100755, busybox.read_bytes()))
    for name in _MODULES:
        (module,) = modules.rglob(f"{name}.ko")
        entries.append((f"modules/{name}.ko", 0o100644, module.read_bytes()))
    entries.append(("init", 0o100755, init_script()))
    return gzip.compress(b"".join(_archive(entries)), mtime=0)


def init_script() -> bytes:
    """Reads the script that the machine's first process runs."""
    return Path(__file__).with_name("init.sh").read_bytes()


def _archive(entries: list[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """Writes cpio's "newc" form, as in the kernel's Documentation/driver-api/early-userspace."""
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        links = 1
        fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        yield _padded(header + encoded)
        yield _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
