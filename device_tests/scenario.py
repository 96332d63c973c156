"""The process that `memory` starts for a scenario: the job on standard input, memory on output.

A job is JSON: `base` (left out: only import the runtime), `bundles` (the first one is active),
`ids` `[batch, tokens]` and `threads`. The answer is `{"use": …}`, or `{"refused": [class, code,
message]}` where the session refuses the job.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from osd_edge.device_tests.memory import MemoryUse, read_memory
from osd_edge.errors import OsdEdgeError


def play(job: dict[str, Any]) -> MemoryUse | None:
    """Do what `job` says in this process and read its memory while the session is still open."""
    from osd_edge.runtime import EdgeSession

    if "base" not in job:
        return read_memory()
    from osd_edge.device_tests.inputs import graph_inputs

    session = EdgeSession(job["base"], threads=job["threads"])
    inputs = graph_inputs(session.manifest, job["ids"])
    for i, path in enumerate(job["bundles"]):
        session.load(path, f"task-{i}")
    if session.tasks:
        session.activate(session.tasks[0])
    session.run(inputs)
    return read_memory()


def main() -> None:
    """Read the job, play it, print the answer."""
    try:
        use = play(json.load(sys.stdin))
    except OsdEdgeError as error:
        print(json.dumps({"refused": [type(error).__name__, error.code, str(error)]}))
        return
    if use is None:
        sys.exit("memory cannot be read here")
    print(json.dumps({"use": asdict(use)}))


if __name__ == "__main__":
    main()
