"""Resident memory, one fresh process for each scenario: onnxruntime gives little back.

Pages that two processes map count for half in each one's PSS and not at all in its USS. So the
process that measures must not itself have onnxruntime, numpy or the base open: this is measured
before anything else, and nothing here imports them. In a program that has them open already,
only RSS, anonymous memory and the peak are what a device would see.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osd_edge import errors
from osd_edge.errors import OsdEdgeError
from osd_edge.progress import Progress, silent

NOT_AVAILABLE = "not available here"


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


@dataclass(frozen=True)
class MemoryScenario:
    """What one process did, and the memory it then had; where `use` is None, `note` says why."""

    name: str
    use: MemoryUse | None
    note: str | None = None


def read_memory(process: Path = Path("/proc/self")) -> MemoryUse | None:
    """Memory of the process with that folder in /proc; None where there is no such folder."""
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


def measure_memory(
    base: Path,
    bundles: Sequence[Path],
    ids: list[list[int]],
    *,
    threads: int = 1,
    progress: Progress = silent,
) -> tuple[MemoryScenario, ...]:
    """Memory after one run of `ids` `[batch, tokens]`: import, base, one task, all tasks.

    "one task" has the first bundle active; "N tasks" has all loaded and the first active.
    Raises what the session raises over a base, a bundle or inputs that it refuses.
    """
    scenarios: list[tuple[str, dict[str, Any]]] = [
        ("import", {}),
        ("base", {"base": str(base), "bundles": []}),
    ]
    for count in sorted({min(1, len(bundles)), len(bundles)} - {0}):
        name = "one task" if count == 1 else f"{count} tasks, one active"
        chosen = [str(path) for path in bundles[:count]]
        scenarios.append((name, {"base": str(base), "bundles": chosen}))
    if read_memory() is None:
        return tuple(MemoryScenario(name, None, NOT_AVAILABLE) for name, _ in scenarios)
    settings = {"ids": ids, "threads": threads}
    return tuple(
        _in_fresh_process(name, job | settings)
        for name, job in progress(scenarios, "Measuring memory")
    )


def _in_fresh_process(name: str, job: dict[str, Any]) -> MemoryScenario:
    command = [sys.executable, "-m", "osd_edge.device_tests.scenario"]
    try:
        done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True)
    except OSError as error:
        return MemoryScenario(name, None, f"no process could be started: {error}")
    if done.returncode != 0:
        return MemoryScenario(name, None, _why(done.returncode, done.stderr))
    result = json.loads(done.stdout)
    if "refused" in result:
        kind, code, message = result["refused"]
        refusal: type[OsdEdgeError] = getattr(errors, kind, OsdEdgeError)
        raise refusal(code, message)
    return MemoryScenario(name, MemoryUse(**result["use"]))


def _why(returncode: int, stderr: str) -> str:
    if returncode == -signal.SIGKILL:
        return "the process was killed: perhaps out of memory"
    if returncode < 0:
        return f"the process was ended by signal {-returncode}"
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    return f"the process failed: {last[:200]}"


def _fields(path: Path) -> dict[str, int]:
    """Lines `Name:  12 kB` of a file in /proc, in bytes; empty where it cannot be read."""
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
