"""Finds and runs the system's programs that building and running the machine needs."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from osd_edge.errors import Code, DeviceError, shown

_PACKAGES = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "tar": "tar",
}
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on everyone's path, but anyone may run it


def find_tool(name: str) -> str:
    """Finds the program `name`; raises DeviceError `device.tool`, saying what to install."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    found = shutil.which(name, path=path)
    if found is None:
        raise DeviceError(
            Code.DEVICE_TOOL,
            f"the emulated machine needs {name}, which is not here: "
            f"apt-get install {_PACKAGES[name]} (a Debian or Ubuntu system)",
        )
    return found


def run_tool(
    name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> str:
    """Runs a program and returns its standard output; raises DeviceError `device.build`."""
    return check(
        [find_tool(name), *map(str, arguments)],
        environment=None if environment is None else os.environ | environment,
    )


def check(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
    """Runs `command`, returns its output; raises DeviceError `device.build` with its last words."""
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        program = " ".join([Path(command[0]).name, *command[1:3]])
        if any("No space left" in line for line in words):
            raise DeviceError(
                Code.DEVICE_SPACE, f"no space left here while running {program}: make room"
            )
        raise DeviceError(Code.DEVICE_BUILD, f"{program} failed: {shown(words[-1], 300)}")
    return done.stdout
