"""Runs one program of the machine at a time under qemu-aarch64: quicker than booting it.

Results are those of an arm64 processor, to the last bit. Memory is not: the emulator's own is in
it. The program runs in this system's file system, and cannot start a process of its own.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence

from osd_edge.device_tests.emulated.build import PYTHON, EmulatedMachine
from osd_edge.device_tests.emulated.tools import find_tool
from osd_edge.errors import Code, DeviceError

# Cores of a Raspberry Pi 4 and 5: a program built for a later one than its core stops here.
PI_4, PI_5 = "cortex-a72", "cortex-a76"


def run(
    machine: EmulatedMachine,
    arguments: Sequence[str],
    *,
    cpu: str = PI_4,
    limit_seconds: float = 600,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs the machine's Python with `arguments` on a core `cpu`, and returns what it printed.

    Raises DeviceError: `device.tool` without qemu, `device.timeout` after `limit_seconds`.
    """
    qemu = find_tool("qemu-aarch64-static")
    command = [qemu, "-L", str(machine.root), "-cpu", cpu, str(machine.root / PYTHON), *arguments]
    variables = {
        "PATH": os.defpath,
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return subprocess.run(
            command,
            env=variables | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            Code.DEVICE_TIMEOUT, f"{arguments[0]} did not end within {limit_seconds:.0f} s"
        ) from error
