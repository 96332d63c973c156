"""Measures the accuracy of four real tasks over a base whose weights are stored in fewer bits.

`python -m benchmarks.weights --shared ../shared -o DIR [--rounded int8 …] [--rows N]`.
Packages of all-MiniLM-L6-v2 with each kind of weights; of each checkpoint one bundle in 16 KiB
(banking77: 64) (osd-rd, `--refine scales`, 4,000 training rows without their labels), and one more
tuned for each kind in `--rounded`. Every bundle runs over every package that concerns it, on the
whole test set, or about N rows of it, evenly spaced. What is in DIR already is not made again.

`accuracy` is that on the test set. `agreement` is the share of rows to which a package gives the
label that the fp32 package gives with the same bundle: what the rounding alone changes.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osd_edge.cli.bars import bar
from osd_edge.data.examples import Example, read_examples
from osd_edge.data.files import write_file
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.models.weight_kinds import WEIGHT_KINDS
from osd_edge.exporters.quiet import quiet_libraries
from osd_edge.runtime import EdgeSession

CHECKPOINTS = ("trec", "mr", "goemotions", "banking77")
BUDGETS = {"banking77": "64KiB"}  # 77 labels: in 16 KiB little of the task is left to lose
ROWS = 4000
BATCH = 32
MAX_LENGTH = 128

GivenLabels = dict[str, dict[str, list[str]]]  # labels given, by package / tuned for, then by task


def package(out: Path, kind: str) -> Path:
    """The base package with weights of `kind`."""
    folder = out / f"minilm-{kind}"
    if not folder.exists():
        export_base(minilm_folder(), folder, weights=kind, progress=bar)
    return folder


def bundle(shared: Path, out: Path, task: str, tuned_for: str) -> Path:
    """The bundle of `task`, tuned for a package with weights of that kind."""
    path = out / f"{task}.{tuned_for}.osd.safetensors"
    if not path.exists():
        rows = random.Random(0).sample(read_examples(shared / "data" / task / "train.tsv"), ROWS)
        export_task(
            minilm_folder(),
            shared / "checkpoints" / task,
            path,
            calibration=[replace(row, label=None) for row in rows],
            budget=BUDGETS.get(task, "16KiB"),
            refine="scales",
            base_weights=tuned_for,
            name=task,
            progress=bar,
        )
    return path


def answers(session: EdgeSession, path: Path, examples: Sequence[Example]) -> list[str]:
    """The label of each example, in batches of texts of like length."""
    name = session.load(path)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].text))
    labels = [""] * len(examples)
    for at in bar(range(0, len(order), BATCH), f"{name} over {session.folder.name}"):
        batch = order[at : at + BATCH]
        texts = [examples[i].text for i in batch]
        found = session.classify(texts, task=name, max_length=MAX_LENGTH)
        for i, answer in zip(batch, found, strict=True):
            labels[i] = answer.label
    session.unload(name)
    return labels


def test_rows(shared: Path, task: str, rows: int | None) -> Sequence[Example]:
    """The rows of the test set that are used."""
    examples = read_examples(shared / "data" / task / "test.tsv")
    return examples if rows is None else examples[:: max(1, len(examples) // rows)]


def measure(shared: Path, out: Path, rounded: Sequence[str], rows: int | None) -> GivenLabels:
    """Labels given over each package by the bundles made for fp32, and by those made for it."""
    results: GivenLabels = {}
    for kind in WEIGHT_KINDS:
        session = EdgeSession(package(out, kind), threads=1)
        for tuned_for in ("fp32", *({kind} & set(rounded))):
            own = results[f"{kind}/{tuned_for}"] = {}
            for task in CHECKPOINTS:
                kept = out / f"answers-{rows or 'all'}" / f"{task}.{tuned_for}.over-{kind}.json"
                if not kept.exists():
                    examples = test_rows(shared, task, rows)
                    labels = answers(session, bundle(shared, out, task, tuned_for), examples)
                    kept.parent.mkdir(exist_ok=True)
                    write_file(kept, json.dumps(labels).encode())
                own[task] = json.loads(kept.read_text("utf-8"))
    return results


def table(shared: Path, out: Path, results: GivenLabels, rows: int | None) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| weights | bundle tuned for | package, MB | "
        + " | ".join(f"{task} %" for task in CHECKPOINTS)
        + " | mean % | agreement with fp32 % |",
        "|---|---|---|" + "---|" * (len(CHECKPOINTS) + 2),
    ]
    right = {task: [row.label for row in test_rows(shared, task, rows)] for task in CHECKPOINTS}
    for key, labels in results.items():
        kind, tuned_for = key.split("/")
        size = sum(path.stat().st_size for path in package(out, kind).iterdir())
        accuracy = [100 * _same(labels[task], right[task]) for task in CHECKPOINTS]
        agreement = [_same(labels[task], results["fp32/fp32"][task]) for task in CHECKPOINTS]
        figures = [f"{figure:.1f}" for figure in (*accuracy, sum(accuracy) / len(accuracy))]
        figures.append(f"{100 * sum(agreement) / len(agreement):.1f}")
        lines.append(f"| {kind} | {tuned_for} | {size / 1e6:.1f} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _same(ours: Sequence[str | None], theirs: Sequence[str | None]) -> float:
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(theirs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rows", type=int, metavar="N")
    parser.add_argument("--rounded", nargs="*", choices=WEIGHT_KINDS[1:], default=["int8", "int4"])
    arguments = parser.parse_args()
    quiet_libraries()
    arguments.out.mkdir(parents=True, exist_ok=True)
    shared, out, rows = arguments.shared, arguments.out, arguments.rows
    print(table(shared, out, measure(shared, out, arguments.rounded, rows), rows))


if __name__ == "__main__":
    main()
