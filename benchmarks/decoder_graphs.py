"""Measures the cost of delta branches in a decoder's graph, over the graph without them.

`python -m benchmarks.decoder_graphs --package DIR … [--bundle FILE | --columns K] [--rows 8]`.
onnxruntime alone, key caches bound in place, in shuffled rounds; figures are processor time. A
session is up to 15 % slower or faster than another over the same graph, by when it was opened: so
there are three processes, in which each of three sessions is first, second and third once, two of
them over the plain graph. A ratio is to the mean of these two; the geometric mean over processes,
and the least and the most of one, which show how much the order does.

* `plain again`: the plain graph in its second session, which says how much a ratio means;
* `no task`: the package's graph with the empty defaults of its factors;
* `task`: the same, fed the factors of a bundle, or made-up ones of K columns a layer;
* `8 rows, 8 tasks`: a token of as many rows, each with factors of its own, over as many rows of
  one task.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bound_decoder import BoundDecoder
from osd_edge.device_tests.gauges.rounds import Variant, measure_rounds
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.package.feeds import factor_feeds
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL, BaseManifest
from osd_edge.formats.package.manifest_reader import read_manifest

FactorFeeds = Mapping[str, NDArray[Any]]
Times = dict[str, dict[str, list[float]]]
LENGTHS = (32, 256)
PROCESSES = 3  # one for each graph to be the first that is opened
_PLAIN, _AGAIN, _BASE, _TASK = "plain", "plain again", "no task", "task"


def made_up(manifest: BaseManifest, columns: int) -> FactorFeeds:
    """Factors of `columns` columns for each layer of each branch, small enough to change little."""
    rng = np.random.default_rng(0)
    kind = {"fp32": np.float32, "fp16": np.float16}[manifest.factors]
    factors: dict[str, NDArray[Any]] = {}
    for branch in manifest.branches:
        k = columns * len(branch.sites)
        u = np.zeros((k, branch.n), np.float32)
        ends = [*branch.starts[1:], branch.n]
        for i, (start, end) in enumerate(zip(branch.starts, ends, strict=True)):
            u[i * columns : (i + 1) * columns, start:end] = 1e-4 * rng.standard_normal(
                (columns, end - start)
            )
        factors[branch.u] = u[None].astype(kind)
        v = 1e-2 * rng.standard_normal((branch.d, k))
        factors[branch.v] = v[None].astype(kind)
    return factors


def measure(package: Path, factors: FactorFeeds, rows: int, rounds: int, first: int) -> Times:
    """Milliseconds of each round, by what is run, then by the graph that runs it.

    `first` is the number of the graph that is opened first.
    """
    manifest = read_manifest(package)
    facts = manifest.generation
    assert facts is not None
    files = [(_PLAIN, PLAIN_MODEL), (_AGAIN, PLAIN_MODEL), (_BASE, MODEL)]
    opened = {
        name: BoundDecoder(package / file, facts) for name, file in files[first:] + files[:first]
    }
    model = opened[_BASE]
    found: Times = {}
    for length in LENGTHS:
        steps = {name: opened[name].token(length) for name, _ in files}
        steps[_TASK] = model.token(length, factors=factors)
        found[f"a token after {length}"] = _timed(steps, rounds)
        steps = {name: opened[name].prompt(length) for name, _ in files}
        steps[_TASK] = model.prompt(length, factors=factors)
        found[f"a prompt of {length}"] = _timed(steps, rounds)
    if rows > 1:
        own = {name: np.repeat(factor, rows, axis=0) for name, factor in factors.items()}
        steps = {
            f"{rows} rows, 1 task": model.token(LENGTHS[0], rows, factors),
            f"{rows} rows, {rows} tasks": model.token(LENGTHS[0], rows, own),
        }
        found[f"a token after {LENGTHS[0]}, {rows} rows"] = _timed(steps, rounds)
    return found


def _timed(steps: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    variants = [Variant(name, step) for name, step in steps.items()]
    samples = measure_rounds(variants, runs=rounds, seconds=0)
    return {name: list(taken.cpu_ms) for name, taken in samples.items()}


def in_processes(package: Path, arguments: argparse.Namespace) -> list[Times]:
    """Measures one package in fresh processes, each of which opens another graph first."""
    found = []
    for first in range(PROCESSES):
        command = [sys.executable, "-m", "benchmarks.decoder_graphs", "--play", str(first)]
        command += ["--package", str(package), "--columns", str(arguments.columns)]
        command += ["--rows", str(arguments.rows), "--rounds", str(arguments.rounds)]
        command += [] if arguments.bundle is None else ["--bundle", str(arguments.bundle)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout))
    return found


def figures_of(processes: Sequence[Times]) -> dict[str, Any]:
    """Medians in ms, and ratios: by what is run, then by the graph.

    A ratio is to both sessions over the plain graph, of the medians of one process; `middle` is
    the geometric mean over processes, in which the order of opening cancels.
    """
    figures: dict[str, Any] = {}
    for what in processes[0]:
        medians = [{name: median(taken) for name, taken in one[what].items()} for one in processes]
        plain = [name for name in medians[0] if name in (_PLAIN, _AGAIN)] or [
            next(iter(medians[0]))
        ]
        by_graph = figures[what] = {}
        for name in medians[0]:
            ratios = [one[name] / geometric_mean([one[n] for n in plain]) for one in medians]
            by_graph[name] = {
                "cpu_ms": median(one[name] for one in medians),
                "ratio": {
                    "middle": geometric_mean(ratios),
                    "least": min(ratios),
                    "most": max(ratios),
                },
            }
    return figures


def lines_of(package: str, figures: dict[str, Any]) -> Sequence[str]:
    """Rows of a Markdown table, one for each thing that is run."""
    lines = []
    for what, by_graph in figures.items():
        (first, reference), *others = by_graph.items()
        ratios = [f"{name} {_words(other['ratio'])}" for name, other in others]
        milliseconds = f"{first} {reference['cpu_ms']:.1f} ms"
        lines.append(f"| {package} | {what} | {milliseconds} | {'; '.join(ratios)} |")
    return lines


def _words(ratio: dict[str, float]) -> str:
    return f"{ratio['middle']:.3f} ({ratio['least']:.2f} to {ratio['most']:.2f})"


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--package", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--bundle", type=Path, metavar="FILE")
    parser.add_argument("--columns", type=int, default=2, help="of a made-up task, a layer")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10, help="in each process")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play is not None:
        (package,) = arguments.package
        manifest = read_manifest(package)
        factors = (
            made_up(manifest, arguments.columns)
            if arguments.bundle is None
            else factor_feeds("task", read_bundle_file(arguments.bundle), manifest)
        )
        times = measure(package, factors, arguments.rows, arguments.rounds, arguments.play)
        print(json.dumps(times))
        return
    results = {}
    for package in arguments.package:
        results[package.name] = figures_of(in_processes(package, arguments))
        if not arguments.json:
            print("\n".join(lines_of(package.name, results[package.name])), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
