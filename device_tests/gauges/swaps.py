"""Times swaps in a session that has the tasks loaded.

Cold is a running session and a file that the system has in its cache of pages: what is timed is
reading, checking and decoding, not the disk. Warm is between decoded tasks.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from osd_edge.device_tests.gauges.samples import time_ms
from osd_edge.runtime import EdgeSession

_WARM_SWAPS_A_RUN = 20


def take_swaps(
    session: EdgeSession,
    name: str,
    path: Path,
    names: Sequence[str],
    inputs: Mapping[str, NDArray[Any]],
    runs: int,
) -> dict[str, list[float]]:
    """Times `runs` cold swaps of task `name`, loaded from `path`; in ms, by figure.

    `load_ms` reads and checks the file, `decode_ms` decodes and activates, `cold_ms` is both;
    `first_run_ms` is the run that follows. `warm_ms`, of more swaps, activates the decoded task
    while another of `names` (or none) is active. The session must keep all of them decoded
    (`cache_bytes`); at the end none is active.
    """
    load = partial(session.load, path, name)
    activate = partial(session.activate, name)
    loads, decodes, firsts, warm = [], [], [], []
    for _ in range(runs):
        session.unload(name)
        loads.append(time_ms(load))
        decodes.append(time_ms(activate))
        firsts.append(time_ms(partial(session.run, inputs)))
    other = next((n for n in names if n != name), None)
    leave = session.deactivate if other is None else partial(session.activate, other)
    for _ in range(runs * _WARM_SWAPS_A_RUN):
        leave()
        warm.append(time_ms(activate))
    session.deactivate()
    cold = [load + decode for load, decode in zip(loads, decodes, strict=True)]
    return {
        "load_ms": loads,
        "decode_ms": decodes,
        "cold_ms": cold,
        "first_run_ms": firsts,
        "warm_ms": warm,
    }
