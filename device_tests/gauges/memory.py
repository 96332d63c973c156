"""Reads the memory of a process and of the machine, as the kernel tells it.

Pages that two processes map count for half in each one's PSS and not at all in its USS. So the
process that starts the scenarios must not itself have onnxruntime, numpy or the base open, and
nothing that it imports does. Other programs that have them open lower PSS and USS all the same;
anonymous memory is a process's own whatever others do.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from osd_edge.device_tests.job.sheet import Sheet


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a process in bytes; None where the kernel does not tell.

    `rss` is resident in all; `pss` counts a shared page by its share; `uss` only pages that no
    other process has; `anonymous` those with no file behind them, which cannot be dropped and
    read again; `peak` is the highest `rss` so far.
    """

    rss: int | None
    pss: int | None
    uss: int | None
    anonymous: int | None
    peak: int | None


def read_memory(process: Path = Path("/proc/self")) -> MemoryUse | None:
    """Reads the memory of the process with that folder in /proc; None without such a folder."""
    rollup, status = _fields(process / "smaps_rollup"), _fields(process / "status")
    rss = rollup.get("Rss", status.get("VmRSS"))
    if rss is None:
        return None
    private = [rollup[name] for name in ("Private_Clean", "Private_Dirty") if name in rollup]
    peak = status.get("VmHWM")
    return MemoryUse(
        rss=rss,
        pss=rollup.get("Pss"),
        uss=sum(private) if private else None,
        anonymous=rollup.get("Anonymous", status.get("RssAnon")),
        # the kernel counts the peak in coarser steps than it walks the pages
        peak=None if peak is None else max(peak, rss),
    )


def put_memory(sheet: Sheet) -> MemoryUse | None:
    """Notes the memory that this process has now, and returns it."""
    use = read_memory()
    reason = "not available here: no /proc" if use is None else "not available here: old kernel"
    for name in ("rss", "pss", "uss", "anonymous", "peak"):
        figure = "peak_rss_bytes" if name == "peak" else f"{name}_bytes"
        sheet.put(figure, None if use is None else getattr(use, name), reason)
    return use


def available_bytes(
    proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Returns what this process may still take before the machine or its group runs out."""
    found = [size for size in (_fields(proc / "meminfo").get("MemAvailable"),) if size is not None]
    for most, now in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number, and no limit
            limit = int((cgroup / most).read_text("utf-8"))
            taken = int((cgroup / now).read_text("utf-8"))
            taken -= _given_back(cgroup / Path(now).with_name("memory.stat"))
            found.append(max(0, limit - taken))
    return min(found, default=None)


def _given_back(stat: Path) -> int:
    """Reads the bytes of files in a group's memory that the kernel drops before it runs out."""
    with contextlib.suppress(OSError, ValueError):
        for line in stat.read_text("utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _fields(path: Path) -> dict[str, int]:
    """Parses lines `Name:  12 kB` of a file in /proc to bytes; empty where it cannot be read."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value[: -len(" kB")]) * 1024
    return fields
