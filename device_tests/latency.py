"""Latency of the plain graph, of the session without a task, and of each task, side by side.

All are measured in one process, in rounds that visit each once in shuffled order, and ratios are
taken within a round, so that a slow minute of the machine slows both sides of a ratio.
"""

import contextlib
import gc
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from osd_edge.base_manifest import PLAIN_MODEL
from osd_edge.device_tests.inputs import SEED
from osd_edge.device_tests.samples import Latency, Ratio, latency_of, ratio_of, time_ms
from osd_edge.progress import Progress, silent
from osd_edge.runtime.graph import open_graph
from osd_edge.runtime.session import EdgeSession

_WARM_UP_ROUNDS = 3
What = Literal["plain", "base", "task"]


@dataclass(frozen=True)
class Measured:
    """Latency of one thing: the plain graph, the session without a task (base), or a task.

    Ratios are None against itself, and against a plain graph that is not there. A session's
    latency includes its checks of the inputs, a task's its head; the plain graph's is the graph.
    """

    what: What
    task: str | None
    latency: Latency
    to_plain: Ratio | None
    to_base: Ratio | None


@dataclass(frozen=True)
class LatencyReport:
    """Latency of each thing over `rounds` rounds.

    `plain_difference` is the largest absolute difference between the hidden states of the plain
    graph and of the session without a task: 0 where they compute the same to the last bit.
    """

    rounds: int
    plain_difference: float | None
    measured: tuple[Measured, ...]


@dataclass(frozen=True)
class _Variant:
    what: What
    task: str | None
    prepare: Callable[[], None]
    run: Callable[[], object]


def measure_latency(
    session: EdgeSession,
    tasks: Sequence[str],
    inputs: Mapping[str, NDArray[Any]],
    *,
    threads: int,
    runs: int,
    seconds: float,
    progress: Progress = silent,
) -> LatencyReport:
    """Latency with `inputs` `[batch, tokens]`; needs room for a second session, the plain one.

    At least `runs` rounds, and more until about `seconds` have gone by.
    """
    run = partial(session.run, inputs)
    hidden = run(task=None).hidden  # first of all: a session's refusal is worded for people
    variants = [_Variant("base", None, session.deactivate, run)]
    variants += [_Variant("task", task, partial(session.activate, task), run) for task in tasks]
    difference = None
    if (session.folder / PLAIN_MODEL).is_file():
        manifest = session.manifest
        plain = open_graph(session.folder / PLAIN_MODEL, threads)
        outputs = [manifest.hidden_output]
        if manifest.pooler_output is not None:
            outputs.append(manifest.pooler_output)
        plain_run = partial(plain.run, outputs, dict(inputs))
        difference = float(np.abs(plain_run()[0] - hidden).max())
        variants.insert(0, _Variant("plain", None, lambda: None, plain_run))

    samples: list[list[float]] = [[] for _ in variants]
    order = list(range(len(variants)))
    shuffle = random.Random(SEED).shuffle

    def round_() -> None:
        shuffle(order)
        for i in order:
            variants[i].prepare()
            # Untimed: right after a run of the other session, that one's threads still spin and
            # hold the cores (at two threads a run then takes nearly twice as long).
            variants[i].run()
            samples[i].append(time_ms(variants[i].run))

    with _no_garbage_collection():
        warm_up_ms = [time_ms(round_) for _ in range(_WARM_UP_ROUNDS)]
        for taken in samples:
            taken.clear()
        rounds = max(runs, math.ceil(seconds * 1e3 / min(warm_up_ms)))
        for _ in progress(range(rounds), "Measuring latency"):
            round_()
    session.deactivate()
    by_what = {v.what: taken for v, taken in zip(variants, samples, strict=True)}

    def against(variant: _Variant, what: What, taken: list[float]) -> Ratio | None:
        if variant.what == what or what not in by_what:
            return None
        return ratio_of(taken, by_what[what])

    measured = tuple(
        Measured(
            variant.what,
            variant.task,
            latency_of(taken),
            to_plain=against(variant, "plain", taken),
            to_base=against(variant, "base", taken),
        )
        for variant, taken in zip(variants, samples, strict=True)
    )
    return LatencyReport(rounds, difference, measured)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
