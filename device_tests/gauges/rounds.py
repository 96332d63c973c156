"""Measures the latency of several things side by side, in one process.

Rounds visit each once in shuffled order, and ratios are samples within a round, so that a slow
minute of the machine slows both sides of a ratio.
"""

import contextlib
import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from osd_edge.device_tests.gauges.samples import ratio_of, spread_of, time_ms
from osd_edge.device_tests.job.sheet import Sheet
from osd_edge.device_tests.plan import SEED

_WARM_UP_ROUNDS = 3
_MOST_ROUNDS = 2000  # of a model so small that the seconds asked for would give millions


@dataclass(frozen=True)
class Variant:
    """One of the things to compare: `prepare` is not timed, `run` is."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Samples:
    """Wall and processor time of each round, in ms."""

    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]


def measure_rounds(variants: Sequence[Variant], *, runs: int, seconds: float) -> dict[str, Samples]:
    """Runs at least `runs` rounds over `variants`, and more until about `seconds` have gone by."""
    walls: list[list[float]] = [[] for _ in variants]
    cpus: list[list[float]] = [[] for _ in variants]
    order = list(range(len(variants)))
    shuffle = random.Random(SEED).shuffle

    def round_() -> None:
        shuffle(order)
        for i in order:
            variants[i].prepare()
            # Untimed: right after a run of another session, that one's threads still spin and
            # hold the cores (at two threads a run then takes nearly twice as long).
            variants[i].run()
            variants[i].prepare()
            cpu = time.process_time_ns()
            walls[i].append(time_ms(variants[i].run))
            cpus[i].append((time.process_time_ns() - cpu) / 1e6)

    with no_garbage_collection():
        warm_up_ms = [time_ms(round_) for _ in range(_WARM_UP_ROUNDS)]
        for samples in (*walls, *cpus):
            samples.clear()
        for _ in range(max(runs, min(_MOST_ROUNDS, math.ceil(seconds * 1e3 / min(warm_up_ms))))):
            round_()
    return {
        variant.name: Samples(tuple(wall), tuple(cpu))
        for variant, wall, cpu in zip(variants, walls, cpus, strict=True)
    }


def put_latency(
    sheet: Sheet,
    samples: Samples,
    *,
    plain: Samples | None = None,
    base: Samples | None = None,
) -> None:
    """Notes latency and processor time, and their ratios to the plain graph and to no task."""
    sheet.put("latency_ms", spread_of(samples.wall_ms))
    sheet.put("cpu_ms", spread_of(samples.cpu_ms))
    if plain is not None:
        sheet.put("to_plain_ratio", ratio_of(samples.wall_ms, plain.wall_ms))
        sheet.put("cpu_to_plain_ratio", ratio_of(samples.cpu_ms, plain.cpu_ms))
    if base is not None:
        sheet.put("to_base_ratio", ratio_of(samples.wall_ms, base.wall_ms))


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects now and not again until the block ends: a pause would be nobody's latency."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
