"""Builds the machine: a root file system with Python and osd-edge, a kernel, an initrd."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osd_edge.device_tests.emulated.cache import cached
from osd_edge.device_tests.emulated.debian import unpack_packages
from osd_edge.device_tests.emulated.disk import make_disk
from osd_edge.device_tests.emulated.initrd import init_script, make_initrd
from osd_edge.device_tests.install.own_wheel import content_digest, own_wheel
from osd_edge.device_tests.install.platform import Platform
from osd_edge.device_tests.install.wheels import install_for, versions_here

PYTHON = "usr/bin/python3.11"
PLATFORM = Platform(machine="aarch64", bits=64, python=(3, 11), glibc=(2, 36))
_SUITE = "bookworm"  # what 64-bit Raspberry Pi OS of the same name is made from
_PACKAGES = ("python3.11", "libstdc++6")
_KERNEL_PACKAGES = ("linux-image-cloud-arm64", "busybox-static")
_SITE = "usr/local/lib/python3.11/dist-packages"
_MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "job")
_FORMAT = "1"  # raise it where other things are made from the same inputs
# qemu 7.2 lets a program see the host's /proc/cpuinfo, over which onnxruntime's cpuinfo library
# falls; a file in the root goes before it. The cores are a Raspberry Pi 4's.
_CORES = "".join(
    f"""processor\t: {number}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
    for number in range(4)
)


@dataclass(frozen=True)
class EmulatedMachine:
    """The files of the machine: `root` is the folder that `disk` was made from."""

    root: Path
    disk: Path
    kernel: Path
    initrd: Path


def build(say: Callable[[str], None] = lambda line: None) -> EmulatedMachine:
    """Builds the machine with this very osd-edge on it; parts whose inputs are the same are kept.

    `say` is told what takes long. Raises DeviceError, OutputError.
    """
    with tempfile.TemporaryDirectory(prefix="osd-edge-") as folder:
        wheel = own_wheel(Path(folder))
        content = content_digest(wheel)

        def kernel(staging: Path) -> None:
            say("emulated machine: kernel from Debian")
            _make_kernel(staging)

        def debian(staging: Path) -> None:
            say("emulated machine: Python from Debian")
            unpack_packages(_PACKAGES, _SUITE, "arm64", staging)

        def root(staging: Path) -> None:
            say("emulated machine: wheels and the disk")
            _make_root(system, wheel, staging)

        script = hashlib.sha256(init_script()).hexdigest()
        boot = cached("emulated-kernel", [_FORMAT, _SUITE, *_KERNEL_PACKAGES, script], kernel)
        system = cached("emulated-debian", [_FORMAT, _SUITE, *_PACKAGES], debian)
        made = cached(
            "emulated-root", [_FORMAT, system.name, content, _CORES, *versions_here()], root
        )
    return EmulatedMachine(made / "root", made / "root.img", boot / "vmlinuz", boot / "initrd")


def _make_kernel(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="osd-edge-") as name:
        unpacked = Path(name)
        unpack_packages(_KERNEL_PACKAGES, _SUITE, "arm64", unpacked)
        (image,) = (unpacked / "boot").glob("vmlinuz-*")
        initrd = make_initrd(unpacked / "bin" / "busybox", unpacked / "lib" / "modules")
        shutil.copyfile(image, folder / "vmlinuz")
        (folder / "initrd").write_bytes(initrd)


def _make_root(debian: Path, wheel: Path, folder: Path) -> None:
    root = folder / "root"
    shutil.copytree(debian, root, symlinks=True)
    for name in _MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(_CORES)
    install_for(PLATFORM, wheel, root / _SITE, extras=["text"])
    make_disk(folder / "root.img", root)
