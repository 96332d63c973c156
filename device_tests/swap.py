"""What a swap costs: from the file to the first run (cold), and between decoded tasks (warm).

Cold is a running session and a file that the system has in its cache of pages: what is timed is
reading, checking and decoding, not the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from numpy.typing import NDArray

from osd_edge.bundle_reader import read_bundle_file
from osd_edge.device_tests.samples import time_ms
from osd_edge.progress import Progress, silent
from osd_edge.runtime.session import EdgeSession
from osd_edge.runtime.task import decode_task

_COLD_CYCLES = 10
_WARM_SWAPS = 1000


@dataclass(frozen=True)
class Swap:
    """Medians in ms over `cold_cycles` and `warm_swaps`; sizes in bytes.

    `load_ms` reads and checks the file, `decode_ms` decodes and activates, `cold_ms` is both;
    `first_run_ms` is the run that follows. `warm_ms` activates the task, decoded already, while
    another task (or none) is active.
    """

    task: str
    file: str
    file_bytes: int
    decoded_bytes: int
    load_ms: float
    decode_ms: float
    cold_ms: float
    first_run_ms: float
    warm_ms: float
    cold_cycles: int
    warm_swaps: int


def measure_swaps(
    session: EdgeSession,
    tasks: Mapping[str, Path],
    inputs: Mapping[str, NDArray[Any]],
    *,
    progress: Progress = silent,
) -> tuple[Swap, ...]:
    """Swaps of each of `tasks`, loaded under these names from these files.

    The session must keep them all decoded (`cache_bytes`); at the end none is active.
    """
    names = list(tasks)
    return tuple(
        _measure(session, name, tasks[name], names, inputs)
        for name in progress(names, "Measuring swaps")
    )


def _measure(
    session: EdgeSession,
    name: str,
    path: Path,
    names: Sequence[str],
    inputs: Mapping[str, NDArray[Any]],
) -> Swap:
    load = partial(session.load, path, name)
    activate = partial(session.activate, name)
    cycles = []
    for _ in range(_COLD_CYCLES):
        session.unload(name)
        cycles.append((time_ms(load), time_ms(activate), time_ms(partial(session.run, inputs))))
    other = next((n for n in names if n != name), None)
    leave = session.deactivate if other is None else partial(session.activate, other)
    warm = []
    for _ in range(_WARM_SWAPS):
        leave()
        warm.append(time_ms(activate))
    session.deactivate()
    return Swap(
        task=name,
        file=path.name,
        file_bytes=path.stat().st_size,
        decoded_bytes=decode_task(name, read_bundle_file(path), session.manifest).nbytes,
        load_ms=median(load for load, _, _ in cycles),
        decode_ms=median(decode for _, decode, _ in cycles),
        cold_ms=median(load + decode for load, decode, _ in cycles),
        first_run_ms=median(run for _, _, run in cycles),
        warm_ms=median(warm),
        cold_cycles=_COLD_CYCLES,
        warm_swaps=_WARM_SWAPS,
    )
