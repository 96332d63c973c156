"""The way without this project: a session for each fine-tuned model, until memory is gone.

    python -m osd_edge.device_tests.many_models MODEL.onnx… [--tokens N]

opens them one after another in a second process, runs each once and keeps it, and prints JSON:
`memory` of that process after each (bytes, see `MemoryUse`), and `ended`, null where all fit.
The process may be killed for want of memory; this one is small and lives to tell.
"""

import argparse
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osd_edge.device_tests.memory import read_memory


def play(models: list[Path], *, tokens: int = 128) -> dict[str, Any]:
    """Open `models` (ONNX files) in a process of their own, and give what is printed."""
    command = [sys.executable, "-m", "osd_edge.device_tests.many_models", "--here"]
    command += ["--tokens", str(tokens), *map(str, models)]
    memory = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("}\n"):  # a killed process may leave half a line
                memory.append(json.loads(line))
                print(f"{len(memory)} models open", file=sys.stderr)
        code = process.wait()
    ended = None
    if code == -signal.SIGKILL:
        ended = "killed by the system for want of memory"
    elif code != 0:
        ended = f"failed with exit code {code}"
    return {"memory": memory, "ended": ended}


def open_here(models: list[Path], tokens: int) -> None:
    """Open each model in this process and run it once; print a line of memory after each."""
    import numpy as np

    from osd_edge.runtime.session import open_graph

    kept = []
    for path in models:
        session = open_graph(path, threads=1)
        shape = (1, tokens)
        session.run(None, {i.name: np.ones(shape, np.int64) for i in session.get_inputs()})
        kept.append(session)
        use = read_memory()
        print(json.dumps({} if use is None else asdict(use)), flush=True)


def main() -> None:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m osd_edge.device_tests.many_models")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--here", action="store_true", help="in this process; a line after each")
    chosen = parser.parse_args()
    if chosen.here:
        open_here(chosen.models, chosen.tokens)
    else:
        print(json.dumps(play(chosen.models, tokens=chosen.tokens)))


if __name__ == "__main__":
    main()
