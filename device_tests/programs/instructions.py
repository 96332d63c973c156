"""Counts what a run and a swap cost in instructions, where the clock counts them.

    python -m osd_edge.device_tests.programs.instructions BASE BUNDLE… [--tokens N]

is for an emulated machine whose clock goes on by a nanosecond an instruction (qemu's `-icount
shift=0`); on any other its figures would be times with a false name. Prints JSON: `first` and
`again` of each thing, in instructions of the one processor, the system's own among them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from osd_edge.errors import OsdEdgeError

_AGAIN = 2


def count(base: Path, bundles: list[Path], *, tokens: int = 128) -> dict[str, Any]:
    """Counts a run without a task, and for each of `bundles` its swaps and runs."""
    from osd_edge.device_tests.job.inputs import graph_inputs, token_ids
    from osd_edge.runtime import EdgeSession

    ids = token_ids(base, 1, tokens)
    session = EdgeSession(base, threads=1)
    inputs = graph_inputs(session.manifest, ids)

    def cold(path: Path) -> None:
        session.load(path, path.name)
        session.activate(path.name)

    counts: dict[str, Any] = {"base": {"run": _count(lambda: session.run(inputs))}, "tasks": {}}
    for path in bundles:
        path.read_bytes()  # into the system's cache of pages: the disk is not what is counted
        task = {"cold": _count(partial(cold, path), partial(session.unload, path.name))}
        session.deactivate()
        task["warm"] = _count(partial(session.activate, path.name), session.deactivate)
        task["run"] = _count(lambda: session.run(inputs))
        counts["tasks"][path.name] = task | {"file_bytes": path.stat().st_size}
        session.deactivate()
    return counts


def _count(
    action: Callable[[], object], between: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Counts instructions of `action`, first and again, with `between` uncounted."""
    counted = []
    for number in range(1 + _AGAIN):
        if number:
            between()
        start = time.perf_counter_ns()
        action()
        counted.append(time.perf_counter_ns() - start)
    return {"first": counted[0], "again": counted[1:]}


def main() -> None:
    """Counts what the command line names; a refusal is one line, and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m osd_edge.device_tests.programs.instructions")
    parser.add_argument("base", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=128)
    chosen = parser.parse_args()
    try:
        print(json.dumps(count(chosen.base, chosen.bundles, tokens=chosen.tokens)))
    except OsdEdgeError as error:
        sys.exit(f"{error} [{error.code}]")


if __name__ == "__main__":
    main()
