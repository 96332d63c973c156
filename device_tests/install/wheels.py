"""Lays out osd-edge and its dependencies in a folder for a device's Python; runs nothing there.

A folder that is put on `PYTHONPATH` is all of the installation, so the device needs no pip and
no network, and removing the folder removes everything.
"""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from osd_edge.device_tests.install.platform import Platform
from osd_edge.errors import Code, DeviceError, shown

_SAME_AS_HERE = ("numpy", "onnxruntime", "tokenizers", "click")


def install_for(
    platform: Platform, wheel: Path, folder: Path, *, extras: Sequence[str] = ()
) -> None:
    """Fills `folder` with `wheel` and wheels of its dependencies for `platform`.

    numpy, onnxruntime, tokenizers and click have the versions that are installed here, so that
    results can be compared. Raises DeviceError `device.wheels`, `device.space`.
    """
    platform.check_python()
    platform.check_wheels()
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    major, minor = platform.python
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--no-compile", "--target", str(folder), wanted]
    command += versions_here()
    command += ["--implementation", "cp", "--python-version", f"{major}{minor}"]
    command += ["--abi", f"cp{major}{minor}"]
    for tag in platform.tags:
        command += ["--platform", tag]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no message"]
        if "No space left" in done.stderr:
            raise DeviceError(
                Code.DEVICE_SPACE, f"no space left here to write wheels to {folder}: make room"
            )
        if "connection" in done.stderr.lower():
            raise DeviceError(
                Code.DEVICE_WHEELS,
                f"pip reaches no package index from here: {shown(lines[0], 300)}",
            )
        raise DeviceError(
            Code.DEVICE_WHEELS,
            f"pip found no wheels for Python {major}.{minor} on {platform.machine}: "
            f"{shown(lines[0], 300)}",
        )


def install_own(wheel: Path, folder: Path) -> None:
    """Fills `folder` with `wheel` alone, for a device that has what it depends on."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def versions_here() -> list[str]:
    """Lists requirements `name==version` of the dependencies that are installed here."""
    pins = []
    for name in _SAME_AS_HERE:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins
