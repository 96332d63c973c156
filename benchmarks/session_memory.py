"""Measures the memory and time of each of onnxruntime's session options on a base package.

`python -m benchmarks.session_memory --base DIR … [--tokens 128] [--rows 16] [--json]`. A fresh
process for each package and each set of options opens the graph, runs one row over and over, then
one batch of `rows`, then one row of 16 tokens. Memory in MiB: PSS, and `anonymous`, which has no
file behind it and so cannot be dropped and read again; processor time in ms.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUNS = 12
VARIANTS = {
    "default": (),
    "no arena": ("arena",),
    "no pattern": ("pattern",),
    "no arena, no pattern": ("arena", "pattern"),
    "no prepacking": ("prepacking",),
    "low: no prepacking, no pattern": ("prepacking", "pattern"),
    "low, arena given back after each run": ("prepacking", "pattern", "shrink"),
    "low, no arena": ("prepacking", "pattern", "arena"),
}


def play(base: Path, off: list[str], tokens: int, rows: int) -> dict[str, float]:
    """Open and run `base` in this process without the options in `off`."""
    import numpy as np
    import onnxruntime as ort

    from osd_edge.device_tests.gauges.memory import MemoryUse, read_memory
    from osd_edge.formats.package.manifest import MODEL

    def mebibytes() -> MemoryUse:
        use = read_memory()
        assert use is not None
        return use

    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = "arena" not in off
    options.enable_mem_pattern = "pattern" not in off
    if "prepacking" in off:
        options.add_session_config_entry("session.disable_prepacking", "1")
    how: Any = ort.RunOptions()
    if "shrink" in off:
        how.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session = ort.InferenceSession(str(base / MODEL), options, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(1000, 20_000, (rows, tokens))

    def run(batch: int, length: int) -> None:
        feeds = {node.name: np.ones((batch, length), np.int64) for node in session.get_inputs()}
        if "token_type_ids" in feeds:
            feeds["token_type_ids"][:] = 0
        session.run(None, feeds | {"input_ids": ids[:batch, :length]}, how)

    run(1, tokens)
    times = []
    for _ in range(RUNS):
        begun = time.thread_time()
        run(1, tokens)
        times.append(1e3 * (time.thread_time() - begun))
    one = mebibytes()
    run(rows, tokens)
    many = mebibytes()
    for _ in range(3):
        run(1, 16)
    after = mebibytes()
    sizes = {
        "pss": one.pss,
        "anonymous": one.anonymous,
        "peak": one.peak,
        "peak_of_batch": many.peak,
        "anonymous_after_batch": after.anonymous,
    }
    return {"run_ms": statistics.median(times)} | {k: (v or 0) / 2**20 for k, v in sizes.items()}


def main() -> None:
    """Print a line for each package and set of options, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        off = list(VARIANTS[arguments.play])
        print(json.dumps(play(arguments.base[0], off, arguments.tokens, arguments.rows)))
        return
    results = {}
    for base in arguments.base:
        for name in VARIANTS:
            command = [sys.executable, "-m", "benchmarks.session_memory", "--play", name]
            command += ["--base", str(base), "--tokens", str(arguments.tokens)]
            command += ["--rows", str(arguments.rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = results[f"{base.name}: {name}"] = json.loads(done.stdout)
            if not arguments.json:
                figures = ", ".join(f"{key} {value:.0f}" for key, value in found.items())
                print(f"{base.name}: {name:38} {figures}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
