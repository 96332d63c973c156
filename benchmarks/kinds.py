"""A classifier, a tagger and a span finder over one MiniLM: quality kept, swapped by request.

`python -m benchmarks.kinds -o FOLDER [--budget 16KiB] [--train 1600] [--test 300]` fine-tunes
the three fully on generated data, compresses each, and prints what the uncompressed model (by
transformers) and its bundle score on sentences of other forms than those trained on, and
how often both say the same. Then requests for the three go through one session in random order.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import pipeline

from benchmarks.kinds_data import Asked, Tagged, asked, tagged
from benchmarks.kinds_models import train_finder, train_tagger
from benchmarks.span_finder import SpanFinder
from osd_edge.cli.bars import bar
from osd_edge.cli.output import percent, table
from osd_edge.data.examples import Example
from osd_edge.exporters import TaskExporter, export_base
from osd_edge.exporters.demo.finetune import Training, finetune
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.demo.tasks import demo_tasks, generate
from osd_edge.exporters.quiet import quiet_libraries
from osd_edge.runtime import EdgeSession

_EPOCHS = 3


@dataclass(frozen=True)
class TaskOfKind:
    """A task: its model, what calibrates it, its test, and its answers before and after."""

    name: str
    model: Path
    calibration: Sequence[Example]
    test: Sequence[Any]
    right: Callable[[Any, Any], bool]
    full: Callable[[Any], Any]
    ask: Callable[[EdgeSession, Any], Any]


def _classifier(base: Path, out: Path, train: int, test: int) -> TaskOfKind:
    task = demo_tasks()[1]
    data = generate(task)
    if not (out / "model.safetensors").is_file():
        finetune(base, task.labels, data.train[:train], out, Training(epochs=_EPOCHS), bar)
    classify = pipeline("text-classification", model=str(out))
    return TaskOfKind(
        "classifier",
        out,
        data.train[:train],
        data.test[:test],
        right=lambda example, label: bool(example.label == label),
        full=lambda example: classify(example.text)[0]["label"],
        ask=lambda session, example: session.classify([example.text], task="classifier")[0].label,
    )


def _tagger(base: Path, out: Path, train: int, test: int) -> TaskOfKind:
    if not (out / "model.safetensors").is_file():
        train_tagger(base, tagged(train, 0), out, _EPOCHS, bar)
    find = pipeline("token-classification", model=str(out), aggregation_strategy="simple")

    def full(example: Tagged) -> Any:
        return [(x["start"], x["end"], x["entity_group"]) for x in find(example.text)]

    def ask(session: EdgeSession, example: Tagged) -> Any:
        (tags,) = session.tag([example.text], task="tagger")
        return [(tag.start, tag.end, tag.label) for tag in tags]

    return TaskOfKind(
        "tagger",
        out,
        [Example(x.text) for x in tagged(train, 0)],
        tagged(test, 1, held_out=True),
        right=lambda example, spans: tuple(spans) == example.spans,
        full=full,
        ask=ask,
    )


def _finder(base: Path, out: Path, train: int, test: int) -> TaskOfKind:
    if not (out / "model.safetensors").is_file():
        train_finder(base, asked(train, 0), out, _EPOCHS, bar)
    find = SpanFinder(out)

    def full(example: Asked) -> Any:
        return find(example.question, example.context)[0]["text"]

    def ask(session: EdgeSession, example: Asked) -> Any:
        found = session.answer(example.question, example.context, task="finder")
        return found[0].text

    return TaskOfKind(
        "finder",
        out,
        [Example(x.question, None, x.context) for x in asked(train, 0)],
        asked(test, 1, held_out=True),
        right=lambda example, text: bool(text == example.answer),
        full=full,
        ask=ask,
    )


def run(out: Path, budget: str, refine: str, train: int, test: int) -> dict[str, Any]:
    """Fine-tune, compress, measure; models and bundles stay in `out`, and are used again."""
    quiet_libraries()
    base, package = minilm_folder(), out / "minilm"
    out.mkdir(parents=True, exist_ok=True)
    if not package.is_dir():
        export_base(base, package, progress=bar)
    makers = {"classifier": _classifier, "tagger": _tagger, "finder": _finder}
    kinds = [make(base, out / name, train, test) for name, make in makers.items()]
    session = EdgeSession(package)
    results: dict[str, Any] = {}
    for kind in kinds:
        path = out / f"{kind.name}.osd.safetensors"
        exporter = TaskExporter(base, kind.model, calibration=kind.calibration, progress=bar)
        report = exporter.export(path, budget=budget, refine=refine, progress=bar)
        session.load(path)
        before = [kind.full(example) for example in kind.test]
        after = [kind.ask(session, example) for example in kind.test]
        both = list(zip(kind.test, before, after, strict=True))
        results[kind.name] = {
            "bytes": report.size,
            "full": sum(kind.right(e, b) for e, b, _ in both) / len(both),
            "bundle": sum(kind.right(e, a) for e, _, a in both) / len(both),
            "agreement": sum(b == a for _, b, a in both) / len(both),
        }
    results["swapped"] = _swapped(session, kinds)
    return results


def _swapped(session: EdgeSession, kinds: Sequence[TaskOfKind]) -> dict[str, Any]:
    """Requests in random order: whether each is answered as when its task had the session."""
    rng = random.Random(0)
    requests = [(kind, example) for kind in kinds for example in kind.test[:30]]
    alone = [kind.ask(session, example) for kind, example in requests]
    order = rng.sample(range(len(requests)), len(requests))
    times, same = [], 0
    for i in order:
        kind, example = requests[i]
        start = time.perf_counter()
        same += kind.ask(session, example) == alone[i]
        times.append(1000 * (time.perf_counter() - start))
    return {"requests": len(order), "same": same, "median_ms": statistics.median(times)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--budget", default="16KiB")
    parser.add_argument("--refine", default="codes", choices=["none", "scales", "codes"])
    parser.add_argument("--train", type=int, default=1600)
    parser.add_argument("--test", type=int, default=300)
    options = parser.parse_args()
    results = run(options.out, options.budget, options.refine, options.train, options.test)
    swapped = results.pop("swapped")
    header = ("task", "bytes", "full model %", "bundle %", "same answer %")
    rows = [
        (name, str(r["bytes"]), percent(r["full"]), percent(r["bundle"]), percent(r["agreement"]))
        for name, r in results.items()
    ]
    print(table(header, rows))
    print(
        f"{swapped['same']} of {swapped['requests']} requests in random order answered as alone; "
        f"median {swapped['median_ms']:.1f} ms, tokenising included"
    )
    (options.out / "kinds.json").write_text(json.dumps(results | {"swapped": swapped}, indent=1))


if __name__ == "__main__":
    main()
