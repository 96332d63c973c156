"""Turns between processes that run tests at the same time: a test that must be alone gets it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold a turn among the processes that share `folder`, whose files it locks.

    Turns overlap, but for one that is `alone`. It waits at the gate until the others are over, and
    nobody overtakes it, since everyone comes through the gate.
    """
    with (folder / "gate").open("w") as gate, (folder / "room").open("w") as room:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
