"""Boots the whole emulated machine under qemu-system-aarch64 and runs a program on it.

The program and what it reads come on a disk of their own, and what it writes goes back on it:
whatever stops the machine, results that were written until then can be read.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osd_edge.device_tests.emulated.build import PYTHON, EmulatedMachine
from osd_edge.device_tests.emulated.disk import make_disk, read_folder
from osd_edge.device_tests.emulated.tools import find_tool
from osd_edge.errors import Code, DeviceError

MEMORY_MIB = 512
PROGRAM_FOLDER = "/job"  # where a program's own folder is on the machine
OUT = f"{PROGRAM_FOLDER}/out"
EMULATOR = "qemu-system-aarch64, cortex-a53, 512 MiB of memory"
_CONSOLE_LINES = 200  # as much of what the machine says is kept
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LC_ALL": "C.UTF-8",
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "TMPDIR": OUT,
}


@dataclass(frozen=True)
class Program:
    """A Python program for the machine.

    `arguments` follow `python3`; `folder` has what it reads, as `/job/…`, and it writes to
    `/job/out` at most about `space_bytes`. `counting` gives it one processor whose clock counts
    instructions: a nanosecond each.
    """

    arguments: Sequence[str]
    folder: Path
    space_bytes: int = 64 * 2**20
    memory_mib: int = MEMORY_MIB
    cpus: int = 2
    counting: bool = False
    limit_seconds: float = 900
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgramEnd:
    """The end of a program: `status` is its exit code, None where the machine stopped before.

    `out` is a copy of `/job/out`, with `stdout` in it; `console` the last lines of the
    machine's console, errors of the program among them.
    """

    status: int | None
    out: Path
    console: tuple[str, ...]
    timed_out: bool


def run(
    machine: EmulatedMachine,
    program: Program,
    into: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> ProgramEnd:
    """Boots `machine`, runs `program`, and copies what it wrote to `into`.

    `say` gets the lines of the console as they come. Raises DeviceError: `device.tool` without
    qemu, `device.space` where there is no room for the disks here, `device.emulator` where the
    machine does not boot.
    """
    qemu = find_tool("qemu-system-aarch64")
    with tempfile.TemporaryDirectory(prefix="osd-edge-job-", dir=into.parent) as name:
        disk = Path(name) / "job.img"
        _make_program_disk(program, disk, Path(name))
        command = [qemu, *_options(machine, disk, program)]
        try:
            console, timed_out = _boot(command, program.limit_seconds, say)
        finally:  # after an interrupt, too
            read_folder(disk, "out", into)
    out = into / "out"
    status = out / "status"
    if not (out / "stdout").exists():
        last = console[-1] if console else "it said nothing"
        raise DeviceError(Code.DEVICE_EMULATOR, f"the emulated machine did not start: {last}")
    ended = status.exists() and status.read_text().strip().isdigit()
    return ProgramEnd(int(status.read_text()) if ended else None, out, console, timed_out)


def _make_program_disk(program: Program, disk: Path, work: Path) -> None:
    """Makes the disk with the program's own files and what the machine's init reads."""
    control = work / "control"
    (control / "out").mkdir(parents=True)
    environment = _ENVIRONMENT | dict(program.environment)
    lines = [f"/{PYTHON}", *program.arguments]
    if any("\n" in line for line in (*lines, *environment.values())):
        raise DeviceError(Code.DEVICE_BUILD, "an argument for the machine has a line break in it")
    (control / "argv").write_text("".join(f"{line}\n" for line in lines))
    (control / "environment").write_text("".join(f"{k}={v}\n" for k, v in environment.items()))
    shutil.copytree(program.folder, control, copy_function=_link, dirs_exist_ok=True)
    make_disk(disk, control, free_bytes=program.space_bytes)


def _link(source: str, target: str) -> None:
    """Makes a hard link, or a copy where there can be none: a base package may be large."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _options(machine: EmulatedMachine, disk: Path, program: Program) -> list[str]:
    options = ["-M", "virt,dtb-randomness=off", "-cpu", "cortex-a53", "-m", str(program.memory_mib)]
    if program.counting:
        options += ["-smp", "1", "-icount", "shift=0,sleep=off"]
    else:
        options += ["-smp", str(program.cpus)]
    options += ["-display", "none", "-monitor", "none", "-serial", "stdio", "-net", "none"]
    options += ["-no-reboot", "-kernel", str(machine.kernel), "-initrd", str(machine.initrd)]
    options += ["-append", "console=ttyAMA0 quiet panic=-1 norandmaps"]
    for serial, path, mode in (("root", machine.disk, "on"), ("job", disk, "off")):
        file = str(path).replace(",", ",,")  # qemu's own escape
        options += ["-drive", f"if=none,id={serial},format=raw,readonly={mode},file={file}"]
        options += ["-device", f"virtio-blk-device,drive={serial},serial={serial}"]
    return options


def _boot(
    command: Sequence[str], limit_seconds: float, say: Callable[[str], None]
) -> tuple[tuple[str, ...], bool]:
    """Runs the emulator to its end or its time limit; returns its last lines, and which it was."""
    console: list[str] = []
    stopped = threading.Event()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:

        def stop() -> None:
            stopped.set()
            process.kill()

        timer = threading.Timer(limit_seconds, stop)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                console.append(line.rstrip())
                del console[:-_CONSOLE_LINES]
                say(line.rstrip())
        finally:
            timer.cancel()
            process.kill()  # an interrupt here must not leave a machine running
    return tuple(console), stopped.is_set()
