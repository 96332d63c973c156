"""Where to measure: this machine, or another that a driver reaches.

A driver is a module here with `open_device(rest) -> Device`, `rest` being what follows the colon
in `--device NAME:REST`. It runs `python -m osd_edge.device_tests` with `Plan.arguments` where the
device is, and brings the JSON back.
"""

import importlib
from typing import Protocol

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
    """Something that a plan can be run on."""

    def run(self, plan: Plan, progress: Progress, keep: Keep) -> Report:
        """Measure `plan` there; `keep` gets what there is so far, as in `measure`.

        The paths in `plan` are of this machine. The report has passed `check_report`. Raises
        OsdEdgeError where there is none.
        """
        ...


def open_device(name: str) -> Device:
    """The device that `--device` names. Raises InputError `input.device`."""
    kind, _, rest = name.partition(":")
    if kind not in DRIVERS:
        raise InputError(
            Code.INPUT_DEVICE, f"no device {name[:60]!r}; there are: {', '.join(DRIVERS)}"
        )
    device: Device = importlib.import_module(DRIVERS[kind]).open_device(rest)
    return device
