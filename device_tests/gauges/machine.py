"""Tells which machine and which software the figures are from."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Machine and software; `cpus_usable` of `cpus` are this process's to use."""

    architecture: str
    system: str
    processor: str
    cpus: int | None
    cpus_usable: int | None
    memory_bytes: int | None
    python: str
    onnxruntime: str
    numpy: str
    osd_edge: str


def usable_cpus() -> int | None:
    """Counts the processors this process may use; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def this_machine() -> Machine:
    """Collects facts about this machine; None where the system does not tell."""
    import osd_edge.runtime  # before onnxruntime: it turns the telemetry client off

    # isort: split
    import numpy
    import onnxruntime

    return Machine(
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        processor=processor_name(),
        cpus=os.cpu_count(),
        cpus_usable=usable_cpus(),
        memory_bytes=memory_bytes(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        numpy=numpy.__version__,
        osd_edge=osd_edge.__version__,
    )


def processor_name() -> str:
    """Returns the board's name where there is one (Raspberry Pi), else the processor's."""
    try:
        return Path("/proc/device-tree/model").read_text("utf-8").strip("\0\n ")
    except (OSError, ValueError):
        pass
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except (OSError, ValueError):
        pass
    return platform.processor() or "unknown"


def memory_bytes() -> int | None:
    """Counts the bytes of the machine's memory; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
