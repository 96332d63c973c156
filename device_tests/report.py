"""The whole measurement of a device, and the report of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osd_edge.device_tests.inputs import SEED, graph_inputs, token_ids
from osd_edge.device_tests.machine import Machine, this_machine
from osd_edge.device_tests.memory import MemoryScenario, measure_memory
from osd_edge.errors import InputError
from osd_edge.progress import Progress, silent

if TYPE_CHECKING:  # these import onnxruntime, which must wait until memory has been measured
    from osd_edge.device_tests.latency import LatencyReport
    from osd_edge.device_tests.swap import Swap
    from osd_edge.runtime import EdgeSession

REPORT_VERSION = 1
_KEEP_ALL_DECODED = 2**62  # cache_bytes: a warm swap is one between decoded tasks
_NO_PLAIN = (
    "the base package has no plain.onnx (made by an older release): ratios are to the session "
    "without a task; export the base again for ratios to the plain graph"
)


@dataclass(frozen=True)
class Settings:
    """What was asked for: `threads` 0 is all cores; `runs` and `seconds` are minima."""

    tokens: int
    batch: int
    threads: int
    runs: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class BaseFacts:
    """The base that was measured; `file_bytes` are those of its package."""

    family: str
    fingerprint: str
    file_bytes: int


@dataclass(frozen=True)
class Report:
    """Everything measured, with where, when and how; `notes` are for people."""

    date: str
    machine: Machine
    settings: Settings
    base: BaseFacts
    latency: "LatencyReport"
    swaps: "tuple[Swap, ...]"
    memory: tuple[MemoryScenario, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON's types, with its version under `report`."""
        return {"report": REPORT_VERSION} | asdict(self)


def measure(
    base: Path,
    bundles: Sequence[Path],
    *,
    tokens: int = 128,
    batch: int = 1,
    threads: int = 1,
    runs: int = 50,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Report:
    """Measure base package `base` with task bundles `bundles` on this machine.

    Inputs are made up, `[batch, tokens]`. At least `runs` timed runs of each thing, and more
    until the runs have taken about `seconds`. Memory comes first, in processes of its own (see
    `memory`). Two bundles may bear one task name: the later is then called `NAME-2`.

    Raises InputError, BaseError, BundleError.
    """
    for name, value in (("tokens", tokens), ("batch", batch), ("runs", runs)):
        if value < 1:
            raise InputError("input.number", f"{name}: expected 1 or more, found {value}")
    if threads < 0:
        raise InputError("input.number", f"threads: expected 0 (all) or more, found {threads}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    ids = token_ids(base, batch, tokens)
    memory = measure_memory(base, bundles, ids, threads=threads, progress=progress)

    from osd_edge.device_tests.latency import measure_latency
    from osd_edge.device_tests.swap import measure_swaps
    from osd_edge.runtime import EdgeSession

    session = EdgeSession(base, threads=threads, cache_bytes=_KEEP_ALL_DECODED)
    inputs = graph_inputs(session.manifest, ids)
    tasks = _load(session, bundles)
    latency = measure_latency(
        session,
        list(tasks),
        inputs,
        threads=threads,
        runs=runs,
        seconds=seconds,
        progress=progress,
    )
    swaps = measure_swaps(session, tasks, inputs, progress=progress)
    files = session.manifest.files.values()
    return Report(
        date=date,
        machine=this_machine(),
        settings=Settings(tokens, batch, threads, runs, seconds, SEED),
        base=BaseFacts(
            session.manifest.family,
            session.manifest.fingerprint,
            sum(int(entry["bytes"]) for entry in files),
        ),
        latency=latency,
        swaps=swaps,
        memory=memory,
        notes=(_NO_PLAIN,) if latency.plain_difference is None else (),
    )


def _load(session: "EdgeSession", bundles: Sequence[Path]) -> dict[str, Path]:
    """Load every bundle: under which name, and from which file."""
    from osd_edge.bundle_reader import read_bundle_file

    tasks: dict[str, Path] = {}
    for path in bundles:
        task = name = read_bundle_file(path).task
        number = 1
        while name in tasks:
            number += 1
            name = f"{task[:56]}-{number}"
        session.load(path, name)
        tasks[name] = path
    return tasks
