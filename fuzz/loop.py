"""Runs the seeded loop over targets, in processes that may end without harm."""

import multiprocessing
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from fuzz.findings import Findings, digest_of
from fuzz.in_flight import InFlight
from fuzz.targets import seeds
from fuzz.targets.target import Target
from fuzz.worker import Told, WorkerJob, work

_TELLS = 60.0  # seconds between lines that say how far a run is
_SILENCE = 180.0  # seconds after which a process that says nothing is ended


@dataclass(frozen=True)
class FuzzPlan:
    """The length of a run, in how many processes, from which noise, and where results go."""

    seconds: float | None
    inputs: int | None
    processes: int
    seed: int
    out: Path
    javascript: bool


@dataclass
class Tally:
    """The figures of one target: mutants run, outcomes by code, inputs kept, seconds."""

    target: str
    inputs: int = 0
    kept: int = 0
    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)


@dataclass
class _Running:
    job: WorkerJob
    process: BaseProcess
    messages: "Connection[object, Told]"
    begun: float
    heard: float
    inputs: int = 0


def run_target(target: Target, plan: FuzzPlan, findings: Findings, tally: Tally) -> None:
    """Runs one target for its share of the plan, adding up its figures in `tally`."""
    kept = plan.out / "corpus" / target.name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        running = []
        for number in range(plan.processes):
            scratch = Path(folder, str(number))
            scratch.mkdir()
            running.append(_start(_job(target, plan, number, scratch)))
        try:
            _follow(running, tally, findings, kept)
        finally:
            for one in running:
                one.process.kill()
                one.process.join()


def _follow(running: list[_Running], tally: Tally, findings: Findings, kept: Path) -> None:
    """Takes in what processes say, until all are done; starts another where one ends."""
    begun = told = time.monotonic()
    while running:
        tally.seconds = time.monotonic() - begun
        if time.monotonic() > told + _TELLS:
            told = time.monotonic()
            print(f"{tally.target}: {tally.inputs:,} in {told - begun:.0f} s", flush=True)
        wait([one.messages for one in running] + [one.process.sentinel for one in running], 1.0)
        for one in list(running):
            done = _hear(one, tally, findings, kept)
            if not done and one.process.is_alive():
                if time.monotonic() - one.heard < _SILENCE:
                    continue
                one.process.kill()
            running.remove(one)
            one.process.join()
            if not done and not _hear(one, tally, findings, kept):
                _note_end(one, tally, findings)
                again = _rest(one)
                running += [] if again is None else [_start(again)]
            one.messages.close()


def _job(target: Target, plan: FuzzPlan, number: int, scratch: Path) -> WorkerJob:
    inputs = None
    if plan.inputs is not None:
        inputs = -(-int(plan.inputs * target.inputs) // plan.processes)
    return WorkerJob(
        target=target,
        seed=f"{plan.seed} {target.name} {number}",
        seconds=None if plan.seconds is None else plan.seconds * target.share,
        inputs=inputs,
        pool=(seeds.CORPUS / target.name, plan.out / "corpus" / target.name),
        scratch=scratch,
        javascript=plan.javascript,
    )


def _start(job: WorkerJob) -> _Running:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, sender), daemon=True)
    process.start()
    sender.close()
    return _Running(job, process, receiver, time.monotonic(), time.monotonic())


def _hear(one: _Running, tally: Tally, findings: Findings, kept: Path) -> bool:
    """Takes in what a process has said; says whether it is done."""
    try:
        while one.messages.poll():
            told = one.messages.recv()
            if told.failure:
                raise RuntimeError(
                    f"the fuzzer itself fails, at {one.job.target.name}:\n{told.failure}"
                )
            one.heard = time.monotonic()
            one.inputs += told.inputs
            tally.inputs += told.inputs
            tally.codes += told.codes
            tally.kept += len(told.kept)
            for data in told.kept:
                (kept / digest_of(data)).write_bytes(data)
            for finding in told.findings:
                findings.add(one.job.target.name, *finding)
            if told.done:
                return True
    except EOFError:
        pass
    return False


def _note_end(one: _Running, tally: Tally, findings: Findings) -> None:
    """Takes the input that a process ended at for a finding."""
    code = one.process.exitcode or 0
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    tally.codes["a finding"] += 1
    data = InFlight(one.job.scratch.with_suffix(".input")).get()
    findings.add(one.job.target.name, f"the process ended: {how}", "", data)


def _rest(one: _Running) -> WorkerJob | None:
    """Gives the job that is left to do, with other noise; None where none is."""
    job = replace(one.job, seed=f"{one.job.seed}+")
    if job.inputs is not None:
        left = job.inputs - max(one.inputs, 1)
        return replace(job, inputs=left) if left > 0 else None
    assert job.seconds is not None
    seconds = job.seconds - (time.monotonic() - one.begun)
    return replace(job, seconds=seconds) if seconds > 1 else None
