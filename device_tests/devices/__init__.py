"""Opens the device to measure: this machine, or another that a driver reaches.

A driver is a module here with `open_device(rest) -> Device`, `rest` being what follows the colon
in `--device NAME:REST`. It runs `python -m osd_edge.device_tests` with `Plan.arguments` where the
device is, and brings the JSON back.
"""

import importlib
from typing import Protocol

from osd_edge.data.arguments import described
from osd_edge.data.progress import Progress
from osd_edge.device_tests.measure import Keep
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import Code, InputError

# name in --device → module; imported when asked for
DRIVERS = {
    "local": "osd_edge.device_tests.devices.local",
    "ssh": "osd_edge.device_tests.devices.ssh",
    "emulated-pi": "osd_edge.device_tests.devices.emulated_pi",
}


class Device(Protocol):
    """A machine that a plan can be run on; any object with `run` is one.

    Example:
        >>> from pathlib import Path
        >>> from osd_edge import silent
        >>> from osd_edge.device_tests import Device, Plan, read_report
        >>> class Recorded:
        ...     def run(self, plan, progress, keep):
        ...         report = read_report(Path("report.json"))
        ...         keep(report)
        ...         return report
        >>> device: Device = Recorded()
        >>> device.run(Plan(), silent, lambda report: None)["verdict"]["status"]
        'passed'
    """

    def run(self, plan: Plan, progress: Progress, keep: Keep) -> Report:
        """Measures `plan` there and returns the report, which has passed `check_report`.

        Args:
            plan: What to measure; its paths are of this machine.
            progress: Wraps the steps for whoever shows them.
            keep: Gets what there is so far, as in `measure`.

        Raises:
            OsdEdgeError: There is no report, or none of a whole run.
        """
        ...


def open_device(name: str) -> Device:
    """Opens the device that `--device` names; nothing is connected or started before its `run`.

    Args:
        name: `local`, `emulated-pi`, or `ssh:user@host[:port][,name=value…]`.

    Returns:
        The device.

    Raises:
        InputError: `input.device`: no driver has that name, or what follows it is not understood.

    Example:
        >>> from osd_edge.device_tests import open_device
        >>> device = open_device("ssh:pi@raspberrypi.local,python=python3.12")
        >>> open_device("toaster")
        Traceback (most recent call last):
        InputError: no device 'toaster'; there are: local, ssh, emulated-pi
    """
    if not isinstance(name, str):
        raise InputError(Code.INPUT_DEVICE, f"expected a device's name, found {described(name)}")
    kind, _, rest = name.partition(":")
    if kind not in DRIVERS:
        raise InputError(
            Code.INPUT_DEVICE, f"no device {name[:60]!r}; there are: {', '.join(DRIVERS)}"
        )
    device: Device = importlib.import_module(DRIVERS[kind]).open_device(rest)
    return device
