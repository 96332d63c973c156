"""Collects facts about the machine and its Python; none of them names a user or a host."""

import contextlib
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from osd_edge.device_tests.gauges.machine import memory_bytes, processor_name, usable_cpus

# Extensions of the instruction set that onnxruntime's products are faster with, as Linux calls
# them: of x86-64, then of arm64.
_FEATURES = (
    *("sse4_1", "f16c", "fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni"),
    *("avx512_bf16", "amx_int8", "amx_tile"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)


@dataclass(frozen=True)
class Surroundings:
    """The machine, its system and its Python; None where the system does not tell.

    `features` are extensions of the processor that matter for speed.
    """

    architecture: str
    processor: str
    cpus: int | None
    cpus_usable: int | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    features: tuple[str, ...] | None
    system: str
    python: str
    python_path: str


def surroundings() -> Surroundings:
    """Collects the facts about this machine and this process."""
    return Surroundings(
        architecture=platform.machine(),
        processor=processor_name(),
        cpus=os.cpu_count(),
        cpus_usable=usable_cpus(),
        memory_bytes=memory_bytes(),
        memory_available_bytes=_available(_text_of("/proc/meminfo")),
        features=features_in(_text_of("/proc/cpuinfo")),
        system=_system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        python_path=sys.executable,
    )


def features_in(cpuinfo: str) -> tuple[str, ...] | None:
    """Lists the features of `/proc/cpuinfo` that matter; None where it names none at all."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            have = set(value.split())
            return tuple(feature for feature in _FEATURES if feature in have)
    return None


def _available(meminfo: str) -> int | None:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and value.split()[:1]:
            return int(value.split()[0]) * 1024
    return None


def _system() -> str:
    """Names the system with its release and, on Linux, its distribution and C library."""
    parts = [f"{platform.system()} {platform.release()}"]
    with contextlib.suppress(OSError, KeyError):  # no Linux, or one that does not say
        parts.append(platform.freedesktop_os_release()["PRETTY_NAME"])
    library = " ".join(platform.libc_ver()).strip()
    return ", ".join([*parts, library] if library else parts)


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
