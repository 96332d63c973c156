"""Reads temperature, clock, throttling, energy and load, where the machine tells them."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osd_edge.device_tests.job.sheet import Sheet

SYS = Path("/sys")
_NO_ENERGY = "not available here: no readable counter of RAPL or hwmon"


@dataclass(frozen=True)
class SensorSnapshot:
    """The state of the sensors at one moment; None where there is no such sensor.

    `throttle_events` counts since boot, on x86. `firmware` is the word of a Raspberry Pi's: its
    bits 0 to 3 say what slows the processor down now (voltage, clock, heat, soft limit), bits 16
    to 19 what did since boot.
    """

    celsius: float | None
    hz: float | None
    throttle_events: int | None
    firmware: int | None
    load: float | None
    busy_ticks: int | None
    total_ticks: int | None


def read_sensors(sys: Path = SYS, proc: Path = Path("/proc")) -> SensorSnapshot:
    """Reads the sensors now."""
    temperatures = [t / 1000 for t in _numbers(sys, "class/thermal/thermal_zone*/temp")]
    clocks = _numbers(sys, "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    events = _numbers(sys, "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    load = ticks = total = None
    with contextlib.suppress(OSError):
        load = os.getloadavg()[0]
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = [int(w) for w in (proc / "stat").read_text("utf-8").split("\n")[0].split()[1:9]]
        total, ticks = sum(words), sum(words) - words[3] - words[4]  # but idle and waiting
    return SensorSnapshot(
        max(temperatures, default=None),
        max(clocks) * 1000 if clocks else None,
        int(sum(events)) if events else None,
        None if events else _firmware_throttling(),
        load,
        ticks,
        total,
    )


def read_energy(sys: Path = SYS) -> float | None:
    """Reads the joules that counters have counted so far; None where none can be read.

    RAPL's counters of the processor packages (its zone `psys` has these in it again), else those
    of hwmon, but for a processor's single cores, which its sockets have in them. They wrap
    around, and on most systems only root may read RAPL's.
    """
    found = _counters(
        sys, "class/powercap/*-rapl:*/energy_uj", "name", lambda s: s[:7] == "package"
    )
    if not found:
        label = "energy{}_label"
        found = _counters(
            sys, "class/hwmon/hwmon*/energy*_input", label, lambda s: s[:5] != "Ecore"
        )
    return sum(found) / 1e6 if found else None


def put_energy(sheet: Sheet, before: float | None, after: float | None, runs: int) -> None:
    """Notes the energy of a run, where the counter could be read and did not wrap around."""
    usable = before is not None and after is not None and after > before
    joules = (after - before) / runs if usable and after and before is not None else None
    sheet.put("energy_run_joules", joules, _NO_ENERGY)


def put_conditions(sheet: Sheet, snapshots: list[SensorSnapshot], own_cpu_seconds: float) -> None:
    """Notes what the sensors said from first to last, and what other programs took meanwhile."""
    first, last = snapshots[0], snapshots[-1]
    no = "not available here: no sensor in /sys"
    celsius = [r.celsius for r in snapshots if r.celsius is not None]
    hz = [r.hz for r in snapshots if r.hz is not None]
    sheet.put("temperature_start_celsius", first.celsius, no)
    sheet.put("temperature_highest_celsius", max(celsius, default=None), no)
    sheet.put("clock_lowest_hz", min(hz, default=None), no)
    sheet.put("clock_highest_hz", max(hz, default=None), no)
    no_count = "not available here: no counter and no vcgencmd"
    sheet.put("throttled_count", _times_throttled(snapshots), no_count)
    sheet.put("load_start_count", first.load)
    sheet.put("load_end_count", last.load)
    busy = None
    if (
        first.busy_ticks is not None
        and first.total_ticks is not None
        and last.busy_ticks is not None
        and last.total_ticks is not None
        and last.total_ticks > first.total_ticks
    ):
        own = own_cpu_seconds * os.sysconf("SC_CLK_TCK")
        others = max(0.0, last.busy_ticks - first.busy_ticks - own)
        busy = min(1.0, others / (last.total_ticks - first.total_ticks))
    sheet.put("others_cpu_share", busy, "not available here: no /proc/stat")


def _times_throttled(snapshots: list[SensorSnapshot]) -> int | None:
    """Counts how often the processor was seen slowed down; None where nothing tells."""
    events = [r.throttle_events for r in snapshots if r.throttle_events is not None]
    if events:
        return max(0, events[-1] - events[0])
    words = [r.firmware for r in snapshots if r.firmware is not None]
    if not words:
        return None
    seen = sum(word & 0xF != 0 for word in words)
    between = (words[-1] & ~words[0]) >> 16 & 0xF
    return max(seen, between.bit_count())


def _counters(root: Path, pattern: str, label: str, wanted: Callable[[str], bool]) -> list[float]:
    """Reads the numbers of matching files whose neighbour `label` has a wanted text.

    A `{}` in `label` is the number in the file's own name.
    """
    found = []
    for path in sorted(root.glob(pattern)):
        number = re.sub(r"\D", "", path.name)
        with contextlib.suppress(OSError, ValueError):
            beside = path.with_name(label.format(number))
            if wanted(beside.read_text("utf-8").strip() if beside.exists() else ""):
                found.append(float(path.read_text("utf-8")))
    return found


def _numbers(root: Path, pattern: str) -> list[float]:
    """Reads the numbers in the files that match, those that can be read."""
    found = []
    for path in sorted(root.glob(pattern)):
        with contextlib.suppress(OSError, ValueError):
            found.append(float(path.read_text("utf-8")))
    return found


def _firmware_throttling() -> int | None:
    """Runs a Raspberry Pi's `vcgencmd get_throttled`: bits for "now" and "since boot"."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        )
        return int(done.stdout.strip().partition("=")[2], 16)
    return None
