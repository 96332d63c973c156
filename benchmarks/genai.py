"""Measures our session beside stock onnxruntime-genai: the same package, in one process, in turns.

`python -m benchmarks.genai --package DIR … --python INTERPRETER`. The interpreter is one that has
onnxruntime-genai and tokenizers, in an environment of its own if it must be: it needs neither torch
nor transformers. Both sides answer prompts of token ids greedily on one thread, with keys in one
bound buffer; ours makes text of the tokens besides. Processor time, medians over rounds in
shuffled order; a ratio is our rate over genai's in one round (median, 10th to 90th percentile).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from osd_edge.device_tests.gauges.rounds import no_garbage_collection
from osd_edge.device_tests.gauges.samples import ratio_of, spread_of
from osd_edge.device_tests.plan import SEED

CONTEXTS = (32, 256)
_OURS, _GENAI = "osd-edge", "onnxruntime-genai"
_WARM_UP_ROUNDS = 1
Side = Callable[[list[int], int], Iterator[int]]  # (prompt, number of tokens) -> tokens


def ours(package: Path) -> Side:
    """Answers by a session over `package`."""
    from osd_edge.runtime import EdgeSession

    session = EdgeSession(package, threads=1)

    def answer(prompt: list[int], count: int) -> Iterator[int]:
        for piece in session.generate([prompt], max_tokens=count, stream=True):
            yield from piece.tokens

    return answer


def genai(folder: Path) -> Side:
    """Answers by onnxruntime-genai over the folder that `genai_folder` made."""
    library: Any = import_module("onnxruntime_genai")  # in the other environment alone
    model = library.Model(str(folder))

    def answer(prompt: list[int], count: int) -> Iterator[int]:
        parameters = library.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + count, do_sample=False)
        generator = library.Generator(model, parameters)
        generator.append_tokens(prompt)
        for _ in range(count):
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    return answer


def measure(package: Path, folder: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Milliseconds of a prompt and of a token by context, then by side, a sample a round."""
    sides = {_GENAI: genai(folder), _OURS: ours(package)}
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
    """Measures one package with the other interpreter; gives spreads."""
    from benchmarks.genai_folder import genai_folder

    with tempfile.TemporaryDirectory(prefix="genai-", dir=package.parent) as name:
        folder = Path(name, "package")
        genai_folder(package, folder)
        command = [arguments.python, "-m", "benchmarks.genai", "--play", str(folder)]
        command += ["--package", str(package), "--tokens", str(arguments.tokens)]
        command += ["--rounds", str(arguments.rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    times: dict[str, Any] = json.loads(done.stdout)
    return {
        what: {name: spread_of(taken) for name, taken in sides.items()}
        | {"rate_ratio": ratio_of(sides[_GENAI], sides[_OURS])}
        for what, sides in times.items()
    }


def lines_of(package: str, figures: dict[str, Any]) -> list[str]:
    """Rows of a Markdown table: tokens a second of both sides, and the ratio."""
    lines = []
    for what, found in figures.items():
        tokens = int(what.split()[-1]) if what.startswith("a prompt") else 1
        rates = [f"{1e3 * tokens / found[name]['p50']:.1f}" for name in (_OURS, _GENAI)]
        ratio = found["rate_ratio"]
        words = f"{ratio['p50']:.3f} ({ratio['p10']:.2f} to {ratio['p90']:.2f})"
        lines.append(f"| {package} | {what} | {' | '.join(rates)} | {words} |")
    return lines


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--package", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--python", default=sys.executable, metavar="INTERPRETER")
    parser.add_argument("--tokens", type=int, default=17, help="of each answer")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play is not None:
        (package,) = arguments.package
        found = measure(package, arguments.play, arguments.rounds, arguments.tokens)
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
