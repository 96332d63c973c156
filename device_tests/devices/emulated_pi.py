"""The driver `--device emulated-pi`: an emulated machine of 512 MB that tells no latency."""

import tempfile
from dataclasses import replace
from pathlib import Path

from osd_edge.data.progress import Progress
from osd_edge.device_tests.devices.payload import REPORT, files_for, finished, module_arguments
from osd_edge.device_tests.emulated.boot import (
    EMULATOR,
    OUT,
    PROGRAM_FOLDER,
    Program,
    ProgramEnd,
    run,
)
from osd_edge.device_tests.emulated.build import build
from osd_edge.device_tests.measure import Keep
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import read_report
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import Code, InputError, shown
from osd_edge.formats.package.manifest import PLAIN_MODEL, WEIGHTS

_SPARE_BYTES = 256 * 2**20
_LIMIT_SECONDS = 4 * 3600.0  # everything over MiniLM takes well under one


class EmulatedPi:
    """Boots the machine, has it measure itself, and takes its report from its disk."""

    def __init__(self, *, limit_seconds: float = _LIMIT_SECONDS) -> None:
        """Sets `limit_seconds`, after which the machine is stopped; its results so far are kept."""
        self._limit = limit_seconds

    def run(self, plan: Plan, progress: Progress, keep: Keep) -> Report:
        """Measures `plan` there without times. Raises DeviceError and what the machine refuses."""
        plan = replace(plan, emulated=EMULATOR, scratch=None)
        files = list(files_for(plan))
        steps = iter(progress(("build", "run"), "Emulated machine"))
        next(steps)
        machine = build()
        next(steps)
        with tempfile.TemporaryDirectory(prefix="osd-edge-") as name:
            folder, into = Path(name, "job"), Path(name, "back")
            into.mkdir()
            for path, place in files:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).symlink_to(path.resolve())
            folder.mkdir(exist_ok=True)
            program = Program(
                arguments=module_arguments(plan, PROGRAM_FOLDER, OUT),
                folder=folder,
                space_bytes=_space(plan),
                limit_seconds=self._limit,
            )
            report: Report | None = None
            try:
                ran = run(machine, program, into)
            finally:  # after an interrupt, too
                written = into / "out" / REPORT
                if written.exists():
                    report = read_report(written)
                    keep(report)
        next(steps, None)
        return finished(report, _how_it_ended(ran))


def _space(plan: Plan) -> int:
    """Returns the bytes for results and for the copies of the model that a scenario makes."""
    if plan.base is None or "models" not in plan.chosen():
        return _SPARE_BYTES
    parts = (Path(plan.base, PLAIN_MODEL), Path(plan.base, WEIGHTS))
    size = sum(path.stat().st_size for path in parts if path.is_file())
    return max(plan.tasks, len(plan.bundles)) * size + _SPARE_BYTES


def _how_it_ended(ran: ProgramEnd) -> str:
    if ran.timed_out:
        return "the emulated machine was stopped at its time limit"
    last = next((line for line in reversed(ran.console) if line and "reboot:" not in line), "")
    return "the run in the emulated machine broke off" + (f" ({shown(last, 200)})" if last else "")


def open_device(rest: str) -> EmulatedPi:
    """Opens the device of `--device emulated-pi`, which takes nothing after it."""
    if rest:
        raise InputError(
            Code.INPUT_DEVICE, f"expected --device emulated-pi, found {rest[:40]!r} too"
        )
    return EmulatedPi()
