"""Gives inputs to their target once more, and prints what comes of them."""

from pathlib import Path

from fuzz.guard import Guard
from fuzz.javascript import JavaScriptReader, compare, missing
from fuzz.outcome import Fault
from fuzz.targets.table import TARGETS


def replay(paths: list[Path]) -> int:
    """Runs each file on the target that its folder is named for; the exit status is 1 if one fails.

    In this process, so that a debugger can be used, and one that ends it ends the command.
    """
    failed = 0
    guards: dict[str, Guard] = {}
    readers: dict[str, JavaScriptReader] = {}
    for path in paths:
        target = TARGETS[path.resolve().parent.name]
        data = path.read_bytes()
        guard = guards.setdefault(target.name, Guard(target))
        try:
            outcome = guard.outcome(data)
            guard.check_memory(data)
            print(f"{path}: {outcome.code}")
            if target.twin and not missing():
                reader = readers.setdefault(target.name, JavaScriptReader(target.twin))
                compare(data, outcome, reader.answers([data])[0])
        except Fault as finding:
            failed = 1
            print(f"{path}: FINDING: {finding.title}\n{finding.detail}")
    for reader in readers.values():
        reader.close()
    return failed
