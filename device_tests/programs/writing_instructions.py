"""Counts what writing text costs in instructions, where the clock counts them.

    python -m osd_edge.device_tests.programs.writing_instructions BASE [BUNDLE…] [--tokens N]

is for an emulated machine whose clock goes on by a nanosecond an instruction, as `instructions`
beside it. Prints JSON: of the base alone and of each task, instructions up to an answer's first
token and of each token after it.
"""

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from osd_edge.errors import OsdEdgeError

_WARM_UP = 1  # answers: buffers are made, and pages touched, at the first one


def count(base: Path, bundles: list[Path], *, tokens: int, answer: int) -> dict[str, Any]:
    """Counts an answer of `answer` tokens to a prompt of `tokens`, without and with each task."""
    from osd_edge.device_tests.job.inputs import token_ids
    from osd_edge.runtime import EdgeSession

    (prompt,) = token_ids(base, 1, tokens)
    session = EdgeSession(base, threads=1)
    counts: dict[str, Any] = {}
    for path in (None, *bundles):
        task = None if path is None else session.load(path, path.name)
        for _ in range(_WARM_UP + 1):
            times = [time.perf_counter_ns()]
            for piece in session.generate([prompt], task=task, max_tokens=answer, stream=True):
                if piece.tokens:
                    times.append(time.perf_counter_ns())
        steps = [after - before for before, after in pairwise(times)]
        counts["no task" if task is None else task] = {"first": steps[:1], "others": steps[1:]}
    return counts


def main() -> None:
    """Counts what the command line names; a refusal is one line, and exit code 1."""
    name = "python -m osd_edge.device_tests.programs.writing_instructions"
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("base", type=Path)
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--answer", type=int, default=4)
    chosen = parser.parse_args()
    try:
        found = count(chosen.base, chosen.bundles, tokens=chosen.tokens, answer=chosen.answer)
        print(json.dumps(found))
    except OsdEdgeError as error:
        sys.exit(f"{error} [{error.code}]")


if __name__ == "__main__":
    main()
