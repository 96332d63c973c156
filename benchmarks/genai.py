"""Measures our session beside stock onnxruntime-genai: the same package, in one process, in turns.

`python -m benchmarks.genai --package DIR …`; genai comes with the extra `[genai]`, or
`--python INTERPRETER` names one that has it and tokenizers. Both sides open the package as it is,
and answer prompts of token ids greedily on one thread, with keys in one
bound buffer; ours makes text of the tokens besides. Processor time, in rounds in shuffled order. A
session is up to 10 % slower or faster by how its weights come to lie in memory: so there are six
processes, and each side is opened first in half of them. A ratio is our rate over genai's by the
medians of a process; the geometric mean of all, and the least and the most of one.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from osd_edge.device_tests.gauges.rounds import no_garbage_collection
from osd_edge.device_tests.plan import SEED

CONTEXTS = (32, 256)
PROCESSES = 6
_OURS, _GENAI = "osd-edge", "onnxruntime-genai"
_WARM_UP_ROUNDS = 1
_ONE_THREAD = {"intra_op_num_threads": 1}
Side = Callable[[list[int], int], Iterator[int]]  # (prompt, number of tokens) -> tokens


def ours(package: Path) -> Side:
    """Answers by a session over `package`."""
    from osd_edge.runtime import EdgeSession

    session = EdgeSession(package, threads=1)

    def answer(prompt: list[int], count: int) -> Iterator[int]:
        for piece in session.generate([prompt], max_tokens=count, stream=True):
            yield from piece.tokens

    return answer


def genai(package: Path) -> Side:
    """Answers by onnxruntime-genai over `package`, on one thread too."""
    library: Any = import_module("onnxruntime_genai")  # in the other environment alone
    config = library.Config(str(package))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": _ONE_THREAD}}}))
    model = library.Model(config)

    def answer(prompt: list[int], count: int) -> Iterator[int]:
        parameters = library.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + count, do_sample=False)
        generator = library.Generator(model, parameters)
        generator.append_tokens(prompt)
        for _ in range(count):
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    return answer


def measure(package: Path, rounds: int, tokens: int, *, ours_first: bool) -> dict[str, Any]:
    """Milliseconds of a prompt and of a token by context, then by side, a sample a round."""
    sides: dict[str, Side] = {}
    for name in (_OURS, _GENAI) if ours_first else (_GENAI, _OURS):
        sides[name] = ours(package) if name == _OURS else genai(package)
    random_ = random.Random(SEED)
    found: dict[str, Any] = {}
    for context in CONTEXTS:
        prompt = random_.choices(range(1000, 20_000), k=context)
        firsts: dict[str, list[float]] = {name: [] for name in sides}
        others: dict[str, list[float]] = {name: [] for name in sides}
        answers: dict[str, list[int]] = {}
        for round_ in range(_WARM_UP_ROUNDS + rounds):
            for name in random_.sample(sorted(sides), k=len(sides)):
                first, each, answers[name] = _timed(sides[name], prompt, tokens)
                if round_ >= _WARM_UP_ROUNDS:
                    firsts[name].append(first)
                    others[name].append(each)
        if answers[_OURS] != answers[_GENAI] or len(answers[_OURS]) != tokens:
            raise RuntimeError(f"the two write other tokens, or an answer ended early: {answers}")
        found[f"a prompt of {context}"], found[f"a token after {context}"] = firsts, others
    return found


def _timed(answer: Side, prompt: list[int], tokens: int) -> tuple[float, float, list[int]]:
    """Milliseconds to the first token, milliseconds of each other one, and the tokens."""
    with no_garbage_collection():
        begun = time.process_time_ns()
        stream = answer(prompt, tokens)
        written = [next(stream)]
        first = time.process_time_ns()
        written += stream
        done = time.process_time_ns()
    return (first - begun) / 1e6, (done - first) / 1e6 / (tokens - 1), written


def in_process(package: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures one package with the other interpreter; gives milliseconds and ratios of rates."""
    command = [arguments.python, "-m", "benchmarks.genai", "--play", "--package", str(package)]
    command += ["--tokens", str(arguments.tokens), "--rounds", str(arguments.rounds)]
    found: list[dict[str, Any]] = []
    for number in range(PROCESSES):
        order = ["--ours-first"] if number % 2 else []
        done = subprocess.run(command + order, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout))
    figures: dict[str, Any] = {}
    for what in found[0]:
        medians = [{name: median(one[what][name]) for name in (_OURS, _GENAI)} for one in found]
        ratios = [one[_GENAI] / one[_OURS] for one in medians]
        figures[what] = {
            name: geometric_mean([one[name] for one in medians]) for name in (_OURS, _GENAI)
        } | {"rate_ratio": geometric_mean(ratios), "rate_ratios": ratios}
    return figures


def lines_of(package: str, figures: dict[str, Any]) -> list[str]:
    """Rows of a Markdown table: tokens a second of both sides, and the ratio."""
    lines = []
    for what, found in figures.items():
        tokens = int(what.split()[-1]) if what.startswith("a prompt") else 1
        rates = [f"{1e3 * tokens / found[name]:.1f}" for name in (_OURS, _GENAI)]
        least, most = min(found["rate_ratios"]), max(found["rate_ratios"])
        words = f"{found['rate_ratio']:.3f} ({least:.2f} to {most:.2f})"
        lines.append(f"| {package} | {what} | {' | '.join(rates)} | {words} |")
    return lines


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--package", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--python", default=sys.executable, metavar="INTERPRETER")
    parser.add_argument("--tokens", type=int, default=17, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3, help="in each process")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ours-first", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        (package,) = arguments.package
        rounds, tokens = arguments.rounds, arguments.tokens
        first = arguments.ours_first
        found = measure(package, rounds, tokens, ours_first=first)
        print(json.dumps(found))
        return
    results = {}
    if not arguments.json:
        print(f"| | | {_OURS}, tokens a second | {_GENAI} | rate over genai's |")
        print("|---|---|---|---|---|")
    for package in arguments.package:
        results[package.name] = in_process(package, arguments)
        if not arguments.json:
            print("\n".join(lines_of(package.name, results[package.name])), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
