"""Measures the cost of a batch in which every row has its own task.

`python -m benchmarks.mixed_batch --base DIR --bundle FILE … [--rows 8] [--tokens 128] [--json]`.
Measured in one process, in shuffled rounds; every figure is a ratio to the batch with one task
(the first bundle), taken within a round: median, and the 10th to the 90th percentile.

* `no task`: the same batch over the base alone;
* `mixed`: the bundles in turn, one for each row, as the requests of a moment come: the rows
  change their order each time, so that factors are stacked anew;
* `mixed, same rows`: the same tasks again, whose stack is still there;
* `row by row`: each row in a run of its own.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

from osd_edge.device_tests.gauges.samples import ratio_of, time_ms
from osd_edge.device_tests.job.inputs import graph_inputs, token_ids
from osd_edge.device_tests.plan import SEED
from osd_edge.runtime import EdgeSession

_WARM_UP_ROUNDS = 3


def measure(
    session: EdgeSession, names: list[str], ids: list[list[int]], rounds: int
) -> dict[str, list[float]]:
    """Times in ms of each way, by its name, a sample a round."""
    inputs = graph_inputs(session.manifest, ids)
    random_ = random.Random(SEED)
    tasks: list[str | None] = [names[i % len(names)] for i in range(len(ids))]

    def mixed() -> None:
        random_.shuffle(tasks)
        session.run(inputs, tasks=tasks)

    def row_by_row() -> None:
        for i, name in enumerate(tasks):
            session.run({key: value[i : i + 1] for key, value in inputs.items()}, task=name)

    ways: dict[str, Callable[[], object]] = {
        "one task": lambda: session.run(inputs, task=names[0]),
        "no task": lambda: session.run(inputs, task=None),
        "mixed": mixed,
        "mixed, same rows": lambda: session.run(inputs, tasks=tasks),
        "row by row": row_by_row,
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for round_ in range(_WARM_UP_ROUNDS + rounds):
        random_.shuffle(order)
        for name in order:
            if name == "mixed, same rows":
                mixed()  # so that its stack is there
            taken = time_ms(ways[name])
            if round_ >= _WARM_UP_ROUNDS:
                samples[name].append(taken)
    return samples


def main() -> None:
    """Print a line for each way, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", type=Path, required=True, metavar="DIR")
    parser.add_argument("--bundle", type=Path, action="append", required=True, metavar="FILE")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    session = EdgeSession(arguments.base, threads=arguments.threads)
    names = [session.load(path) for path in arguments.bundle]
    ids = token_ids(arguments.base, arguments.rows, arguments.tokens)
    samples = measure(session, names, ids, arguments.rounds)
    ratios = {name: ratio_of(taken, samples["one task"]) for name, taken in samples.items()}
    if arguments.json:
        settings = {key: getattr(arguments, key) for key in ("rows", "tokens", "threads", "rounds")}
        print(json.dumps({**settings, **ratios}))
        return
    print(f"{arguments.rows} rows of {arguments.tokens} tokens, {len(names)} tasks")
    for name, ratio in ratios.items():
        print(f"{name:18} {ratio['p50']:.3f} ({ratio['p10']:.3f}-{ratio['p90']:.3f})")


if __name__ == "__main__":
    main()
