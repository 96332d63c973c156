"""A process that makes mutants of a target's seeds, runs them, and tells what it finds."""

import os
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from fuzz.guard import Guard
from fuzz.in_flight import InFlight
from fuzz.javascript import JavaScriptReader, compare
from fuzz.limits import LARGEST_INPUT, SAMPLED
from fuzz.outcome import Fault, Observed
from fuzz.targets.target import Target

_BATCH = 64  # inputs that the JavaScript reader gets at a time
_TELLS = 0.5  # seconds between messages
_POOL = 20_000  # files that mutants are made of


@dataclass(frozen=True)
class WorkerJob:
    """The work of one process: `inputs` mutants, or as many as `seconds` give."""

    target: Target
    seed: str  # of the noise: with the pool it decides all mutants
    seconds: float | None
    inputs: int | None
    pool: tuple[Path, ...]  # folders of files besides the seeds
    scratch: Path  # an empty folder
    javascript: bool


@dataclass(frozen=True)
class Told:
    """A message: inputs run since the last, outcomes by code, inputs kept and findings."""

    inputs: int
    codes: Counter[str]
    kept: tuple[bytes, ...]
    findings: tuple[tuple[str, str, bytes], ...]  # title, detail, input
    done: bool = False
    failure: str = ""


def work(job: WorkerJob, out: "Connection[Told, object]") -> None:
    """Does the job, sending messages of type Told until one says `done`."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        _Worker(job, out).run()
    except Exception:  # of the fuzzer's own: no finding
        out.send(Told(0, Counter(), (), (), failure=traceback.format_exc()))


class _Worker:
    def __init__(self, job: WorkerJob, out: "Connection[Told, object]") -> None:
        self._job = job
        self._out = out
        self._target = job.target
        twin = self._target.twin if job.javascript else None
        self._twin = JavaScriptReader(twin) if twin else None
        self._guard = Guard(self._target, job.scratch)
        self._in_flight = InFlight(job.scratch.with_suffix(".input"))
        self._seen: set[tuple[object, ...]] = set()
        self._pool: list[bytes] = []
        self._batch: list[tuple[bytes, Observed]] = []
        self._forget()

    def run(self) -> None:
        """Runs seeds, then mutants, until the job is done."""
        end = None if self._job.seconds is None else time.monotonic() + self._job.seconds
        for data in self._seeds():
            self._try(data)
            self._pool.append(data)
        self._inputs = 0  # seeds are no mutants
        self._codes.clear()
        noise = Random(self._job.seed)
        left = self._job.inputs
        while (left is None or left > 0) and (end is None or time.monotonic() < end):
            data = self._target.mutant(noise, noise.choice(self._pool), noise.choice(self._pool))
            if len(data) <= LARGEST_INPUT and self._try(data) and len(self._pool) < _POOL:
                self._pool.append(data)
                self._kept.append(data)
            left = None if left is None else left - 1
            if time.monotonic() > self._told + _TELLS:
                self._tell()
        self._compare()
        self._tell(done=True)
        if self._twin is not None:
            self._twin.close()
        self._guard.close()

    def _seeds(self) -> Iterator[bytes]:
        yield from self._target.seeds()
        for folder in self._job.pool:
            for path in sorted(folder.glob("*")):
                yield path.read_bytes()

    def _try(self, data: bytes) -> bool:
        """Runs an input; says whether it went a way that none went before."""
        self._in_flight.put(data)
        self._inputs += 1
        try:
            outcome = self._guard.outcome(data)
            key = (outcome.code, *outcome.trail)
            new = key not in self._seen
            self._seen.add(key)
            if new or self._inputs % SAMPLED == 0:
                self._guard.check_memory(data)
        except Fault as finding:
            self._note(finding, data)
            return False
        self._codes[outcome.code] += 1
        if self._twin is not None:
            self._batch.append((data, outcome))
            if len(self._batch) >= _BATCH:
                self._compare()
        return new

    def _compare(self) -> None:
        if self._twin is None or not self._batch:
            return
        answers = self._twin.answers([data for data, _ in self._batch])
        for (data, outcome), answer in zip(self._batch, answers, strict=True):
            try:
                compare(data, outcome, answer)
            except Fault as finding:
                self._note(finding, data)
        self._batch.clear()

    def _note(self, finding: Fault, data: bytes) -> None:
        self._codes["a finding"] += 1
        self._findings.append((finding.title, finding.detail, data))

    def _tell(self, *, done: bool = False) -> None:
        self._out.send(
            Told(self._inputs, self._codes, tuple(self._kept), tuple(self._findings), done)
        )
        self._forget()

    def _forget(self) -> None:
        self._inputs = 0
        self._codes: Counter[str] = Counter()
        self._kept: list[bytes] = []
        self._findings: list[tuple[str, str, bytes]] = []
        self._told = time.monotonic()
