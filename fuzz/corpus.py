"""Makes the kept corpus anew: the smallest inputs that go ways which no seed goes."""

import tempfile
from pathlib import Path

from fuzz.findings import digest_of
from fuzz.guard import Guard
from fuzz.outcome import ACCEPTED, Fault
from fuzz.targets import seeds
from fuzz.targets.table import TARGETS

MOST_BYTES = 300_000  # of all targets together


def keep(out: Path) -> None:
    """Chooses among what was kept and what runs have found in `out`, and writes fuzz/corpus."""
    most = MOST_BYTES // len(TARGETS)
    for name in TARGETS:
        chosen = _chosen(name, out / "corpus" / name, most)
        folder = seeds.CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*"):
            path.unlink()
        for data in chosen:
            (folder / digest_of(data)).write_bytes(data)
        print(f"{name}: {len(chosen)} inputs, {sum(map(len, chosen))} bytes")


def _chosen(name: str, found: Path, most: int) -> list[bytes]:
    target = TARGETS[name]
    inputs = {*seeds.kept(name), *(path.read_bytes() for path in found.glob("*"))}
    smallest: dict[tuple[object, ...], bytes] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        guard = Guard(target, Path(folder))
        seen = {_way(guard, data) for data in target.seeds()}
        for data in sorted(inputs, key=lambda data: (len(data), data)):
            smallest.setdefault(_way(guard, data), data)
        guard.close()
    chosen: list[bytes] = []
    # Refusals first, since each has lines of its own; what is accepted differs less.
    for way, data in sorted(smallest.items(), key=lambda one: one[0][0] == ACCEPTED):
        if way not in seen and len(data) <= most:
            chosen.append(data)
            most -= len(data)
    return chosen


def _way(guard: Guard, data: bytes) -> tuple[object, ...]:
    try:
        outcome = guard.outcome(data)
    except Fault as fault:
        return ("a finding", fault.title)
    return (outcome.code, *outcome.trail)
