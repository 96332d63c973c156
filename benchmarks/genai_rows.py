"""Compares the answers of stock onnxruntime-genai and of our session, token by token, with a task.

`python -m benchmarks.genai_rows --package DIR … --bundle FILE --prompts FILE`, a `.jsonl` with a
"prompt" a line, of which `--rows` evenly spaced ones are answered. It needs the extras `[export]`
and `[genai]`. genai gets the texts too: tokens of prompts are compared as well.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter
from osd_edge.formats.package.manifest import TOKENIZER
from osd_edge.runtime import EdgeSession


class StockPackage:
    """A package in onnxruntime-genai, with one adapter."""

    def __init__(self, package: Path, adapter: Path) -> None:
        """Opens the package as it is."""
        self._library: Any = import_module("onnxruntime_genai")
        self._model = self._library.Model(str(package))
        self._adapters = self._library.Adapters(self._model)
        self._adapters.load(str(adapter), "task")
        self.tokenizer = self._library.Tokenizer(self._model)

    def answer(self, prompt: list[int], count: int, *, with_task: bool) -> Iterator[int]:
        """The likeliest tokens after a prompt, with the one that ends an answer."""
        settings = self._library.GeneratorParams(self._model)
        settings.set_search_options(max_length=len(prompt) + count)
        generator = self._library.Generator(self._model, settings)
        if with_task:
            generator.set_active_adapter(self._adapters, "task")
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])


def compare(package: Path, bundle: Path, prompts: list[str], count: int) -> dict[str, Any]:
    """Counts the prompts whose tokens, and whose answers with and without the task, are equal."""
    session = EdgeSession(package, threads=1)
    task = session.load(bundle)
    facts = session.manifest.generation
    assert facts is not None
    tokenizer = Tokenizer.from_file(str(package / TOKENIZER))
    found = {"prompts": 0, "with the task": 0, "without": 0, "tokens": 0}
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder, "task.onnx_adapter")
        export_onnx_adapter(bundle, package, adapter)
        stock = StockPackage(package, adapter)
        for prompt in prompts:
            ids = stock.tokenizer.encode(prompt).tolist()
            found["prompts"] += ids == tokenizer.encode(prompt).ids
            for what, name in (("with the task", task), ("without", None)):
                (answer,) = session.generate([prompt], task=name, max_tokens=count)
                tokens = list(stock.answer(ids, count, with_task=name is not None))
                if answer.ended == "stop" and tokens and tokens[-1] in facts.stop_ids:
                    tokens.pop()
                found[what] += tokens == list(answer.tokens)
                found["tokens"] += len(answer.tokens)
    return found | {"of": len(prompts)}


def main() -> None:
    """Print how many are equal, a line a package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--package", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FILE")
    parser.add_argument("--prompts", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer, at most")
    arguments = parser.parse_args()
    lines = arguments.prompts.read_text("utf-8").splitlines()
    step = max(1, len(lines) // arguments.rows)
    prompts = [json.loads(line)["prompt"] for line in lines[::step][: arguments.rows]]
    for package in arguments.package:
        found = compare(package, arguments.bundle, prompts, arguments.tokens)
        print(package.name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
