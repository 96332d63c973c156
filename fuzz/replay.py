"""Gives inputs to their target once more, and prints what comes of them."""

import tempfile
from pathlib import Path

from fuzz.guard import Guard
from fuzz.javascript import JavaScriptReader, compare, missing
from fuzz.outcome import Fault
from fuzz.targets.table import TARGETS
from fuzz.targets.target import Target


def replay(paths: list[Path]) -> int:
    """Runs each file on the target that its folder is named for; the exit status is 1 if one fails.

    In this process, so that a debugger can be used, and an input that ends it ends the command.
    """
    failed = 0
    for name in dict.fromkeys(path.resolve().parent.name for path in paths):
        target = TARGETS[name]
        twin = JavaScriptReader(target.twin) if target.twin and not missing() else None
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            guard = Guard(target, Path(folder))
            for path in paths:
                if path.resolve().parent.name == name:
                    failed |= _replay(target, path, guard, twin)
            guard.close()
        if twin is not None:
            twin.close()
    return failed


def _replay(target: Target, path: Path, guard: Guard, twin: JavaScriptReader | None) -> int:
    data = path.read_bytes()
    try:
        outcome = guard.outcome(data)
        guard.check_memory(data)
        if twin is not None:
            compare(data, outcome, twin.answers([data])[0])
    except Fault as fault:
        print(f"{path}: FINDING: {fault.title}\n{fault.detail}")
        return 1
    print(f"{path}: {outcome.code}")
    return 0
