"""Opens a session for each fine-tuned model until memory is gone: the way without osd-edge.

    python -m osd_edge.device_tests.programs.many_models MODEL.onnx… [--tokens N]

opens them one after another in a second process, runs each once and keeps it. That process may
be killed for want of memory; this one is small and lives to tell. A line of JSON after each
model, `{"memory": …}` (bytes, see `MemoryUse`), and a last one, `{"ended": …}`: null where all
fit, else how it ended.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osd_edge.device_tests.gauges.memory import read_memory


def open_one_by_one(models: Sequence[Path], *, tokens: int = 128) -> Iterator[dict[str, Any]]:
    """Opens `models` (ONNX files) in a process of their own; yields what it prints."""
    command = [sys.executable, "-m", "osd_edge.device_tests.programs.many_models", "--here"]
    command += ["--tokens", str(tokens), *map(str, models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("}\n"):  # a killed process may leave half a line
                yield json.loads(line)
        code = process.wait()
    if code == -signal.SIGKILL:
        yield {"ended": "killed by the system for want of memory"}
    else:
        yield {"ended": None if code == 0 else f"failed with exit code {code}"}


def open_here(models: Sequence[Path], tokens: int) -> Iterator[dict[str, Any]]:
    """Opens each model in this process, runs it once, keeps it, and yields the memory then."""
    import numpy as np

    from osd_edge.runtime.graph import open_graph

    kept = []
    for path in models:
        session = open_graph(path, threads=1)
        inputs = {node.name: np.ones((1, tokens), np.int64) for node in session.get_inputs()}
        session.run(None, inputs)
        kept.append(session)
        use = read_memory()
        yield {"memory": None if use is None else asdict(use)}


def main() -> None:
    """Opens what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m osd_edge.device_tests.programs.many_models")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--here", action="store_true", help="in this process")
    chosen = parser.parse_args()
    way = open_here if chosen.here else open_one_by_one
    for line in way(chosen.models, tokens=chosen.tokens):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
