"""The driver `--device ssh:user@host[:port]`: measures over ssh and leaves nothing there.

All goes over one connection of the system's own ssh, which never asks for a password. The
device needs Python 3.11 or later; what else it lacks is brought to a folder that is removed.
"""

import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from osd_edge.data.progress import Progress
from osd_edge.data.sizes import format_size
from osd_edge.device_tests.devices.answers import Facts
from osd_edge.device_tests.devices.payload import (
    REPORT,
    broken_off,
    files_for,
    finished,
    module_arguments,
)
from osd_edge.device_tests.devices.ssh_connection import SshConnection, connect
from osd_edge.device_tests.devices.ssh_target import SshTarget, parse_target
from osd_edge.device_tests.install.own_wheel import own_wheel
from osd_edge.device_tests.install.wheels import install_for, install_own
from osd_edge.device_tests.measure import Keep
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import parse_report
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import Code, DeviceError, shown

_SPARE_BYTES = 64 * 2**20  # for the report and what the system needs to go on
_OLDEST = {"numpy": (1, 26), "onnxruntime": (1, 17, 3)}  # as in pyproject.toml

File = tuple[Path, PurePosixPath]


class SshDevice:
    """A device at the other end of an ssh connection."""

    def __init__(self, target: SshTarget) -> None:
        self._target = target

    def run(self, plan: Plan, progress: Progress, keep: Keep) -> Report:
        """Measures `plan` there; `keep` gets every report that the device has written so far.

        Raises DeviceError: `device.unreachable`, `device.denied`, `device.host-key`,
        `device.python`, `device.wheels`, `device.space`, `device.folder`, `device.answer`,
        `device.broken-off`, `report.…` where its report breaks a rule, or the code with which the
        device refuses the plan.
        """
        files = list(files_for(plan))
        steps = iter(progress(("connect", "copy", "measure"), f"Measuring {self._target.host}"))
        next(steps)
        with connect(self._target) as connection, tempfile.TemporaryDirectory() as name:
            facts = connection.hello()
            site = Path(name, "site")
            site.mkdir()
            self._fill(site, facts, Path(name))
            files += [
                (path, PurePosixPath(path.relative_to(site.parent).as_posix()))
                for path in sorted(site.rglob("*"))
                if path.is_file()
            ]
            next(steps)
            folder = _copy(connection, files, facts.free_bytes, Path(name))
            next(steps)
            report = self._measure(connection, plan, folder, keep)
        next(steps, None)
        return report

    def _fill(self, site: Path, facts: Facts, work: Path) -> None:
        """Puts into `site` what the device lacks. Raises DeviceError."""
        platform, packages = facts.platform, facts.packages
        platform.check_python()
        if self._target.installed:
            if packages["osd-edge"] is None:
                raise DeviceError(
                    Code.DEVICE_INSTALLED,
                    f"{self._target.host} has no osd-edge for {self._target.python}: leave out "
                    "'installed', or install it there",
                )
            return
        has_all = all(_at_least(packages[name], oldest) for name, oldest in _OLDEST.items())
        if not has_all:
            platform.check_wheels()  # before a wheel is built
        wheel = own_wheel(work)
        if has_all:
            install_own(wheel, site)
        else:
            install_for(platform, wheel, site)

    def _measure(self, connection: SshConnection, plan: Plan, folder: str, keep: Keep) -> Report:
        arguments = module_arguments(plan, folder, folder)
        connection.ask(
            run=[self._target.python, *arguments],
            environment={"PYTHONPATH": f"{folder}/site", "PYTHONUNBUFFERED": "1"},
            report=REPORT,
        )
        report: Report | None = None
        code: int | None = None
        last = "it said nothing"
        try:
            for answer in connection.answers():
                if "report" in answer:
                    report = self._parsed(answer["report"])
                    keep(report)
                elif "line" in answer:
                    last = shown(answer["line"], 160) or last
                elif "exit" in answer:
                    code = answer["exit"]
        except DeviceError as error:
            if error.code == Code.DEVICE_ANSWER or error.code.startswith("report."):
                raise
            raise broken_off(report, str(error)) from error
        if code is None:
            why = str(connection.lost())
        elif code < 0:
            why = f"the run on {self._target.host} was ended by signal {-code}"
        else:
            why = f"the run on {self._target.host} broke off with exit code {code} ({last})"
        if code and report is not None and report["verdict"]["status"] == "passed":
            raise broken_off(report, f"{why}, though its report says that it passed")
        return finished(report, why)

    def _parsed(self, text: str) -> Report:
        return parse_report(text, f"the report of {shown(self._target.host)}")


def _copy(connection: SshConnection, files: Sequence[File], free: int, work: Path) -> str:
    """Sends `files` and returns the device's folder that they are then in. Raises DeviceError."""
    size = sum(path.stat().st_size for path, _ in files)
    if free < size + _SPARE_BYTES:
        raise DeviceError(
            Code.DEVICE_SPACE,
            f"expected {format_size(size + _SPARE_BYTES)} free on the device, found "
            f"{format_size(free)}: make room, or name another folder with folder=DIR",
        )
    archive = work / "files.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path, place in files:
            tar.add(path.resolve(), str(place))
    connection.ask(archive_bytes=archive.stat().st_size)
    connection.send(archive)
    return str(connection.answer("unpacked"))


def _at_least(version: str | None, oldest: tuple[int, ...]) -> bool:
    """Tells whether a version like `1.26.4` is there and no older than `oldest`."""
    if version is None:
        return False
    numbers = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers) >= oldest


def open_device(rest: str) -> SshDevice:
    """Opens the device of `--device ssh:REST`. Raises InputError `input.device`."""
    return SshDevice(parse_target(rest))
