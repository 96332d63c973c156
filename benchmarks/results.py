"""The paper's three methods on four real checkpoints: makes docs/results.md (`make results`).

Test sets are used for nothing but the accuracies in the table; c in k = r + c is chosen on a
calibration sample of the training set.
"""

import datetime
import json
import platform
import random
from importlib.metadata import version
from pathlib import Path

import click

from osd_edge.cli.comparison import TaskComparison, TaskFiles, compare_task
from osd_edge.cli.options import METHODS
from osd_edge.cli.output import bar, percent
from osd_edge.cli.plot import plot_comparison
from osd_edge.examples import read_examples
from osd_edge.exporters import export_base
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.quiet import quiet_libraries
from osd_edge.files import write_file
from osd_edge.runtime import EdgeSession

CHECKPOINTS = ("trec", "mr", "goemotions", "banking77")
BUDGETS = ("r=1", "r=2", "r=4")
FULL_RANK = "r=384"  # the base's hidden size
CALIBRATION_ROWS = 256
SEED = 0


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option("--report", type=click.Path(path_type=Path), required=True)
def main(shared: Path, out: Path, report: Path) -> None:
    """Measure, and write REPORT with a picture beside it; bundles stay in OUT."""
    if not (shared / "checkpoints").is_dir():
        raise click.ClickException(f"{shared} has no folder checkpoints: name one with --shared")
    quiet_libraries()
    base = minilm_folder()
    (out / "bundles").mkdir(parents=True, exist_ok=True)
    export_base(base, out / "base", overwrite=True, progress=bar)
    session = EdgeSession(out / "base")
    results, full_rank = [], []
    for name in CHECKPOINTS:
        click.echo(f"Checkpoint {name}", err=True)
        task = _task(shared, name)
        results.append(
            compare_task(session, base, task, METHODS, BUDGETS, out / "bundles", progress=bar)
        )
        full_rank.append(
            compare_task(
                session, base, task, ("truncsvd",), (FULL_RANK,), out / "bundles", progress=bar
            )
        )
    picture = report.with_name("results.png")
    plot_comparison(results, picture)
    write_file(report, _report(results, full_rank, picture.name).encode())


def _task(shared: Path, name: str) -> TaskFiles:
    train = read_examples(shared / "data" / name / "train.tsv")
    test = read_examples(shared / "data" / name / "test.tsv")
    tuned = shared / "checkpoints" / name
    training = json.loads((tuned / "training.json").read_text("utf-8"))
    calibration = random.Random(SEED).sample(train, CALIBRATION_ROWS)
    return TaskFiles(name, tuned, training["frozen_probe_accuracy"], tuple(calibration), test)


def _report(results: list[TaskComparison], full_rank: list[TaskComparison], picture: str) -> str:
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("osd-edge", "torch", "onnxruntime", "numpy")
    )
    lines = [
        "# Results",
        "",
        "Made by `make results`; nothing here is typed in by hand.",
        "",
        f"Date {datetime.date.today()}. {versions}, Python {platform.python_version()}, "
        f"{platform.machine()}. Seed {SEED}, one calibration draw of {CALIBRATION_ROWS} labelled "
        "training rows, fp32 values, fp16 head. Accuracy is that of EdgeSession on the whole "
        "test set, texts cut at 128 tokens.",
        "",
        "Base: all-MiniLM-L6-v2. `bytes` is the file on disk, head and header included; `delta` "
        "the share of the linear layers; `μ` the paper's bit count in bytes, bounded by the "
        "budget; `c` the extra columns in k = r + c. `gain` is the share kept of what full "
        "fine-tuning gains over a frozen probe (a logistic regression on the base's features); – "
        "where it gains less than two points.",
        "",
        f"![accuracy against bytes]({picture})",
        "",
    ]
    for result in results:
        lines += _table(result)
    lines += [
        "## Full rank in fp32",
        "",
        "What the device scores with nothing compressed, beside the checkpoint in torch. The "
        "deltas of embeddings, biases and LayerNorms stay out.",
        "",
        "| checkpoint | fine-tuned % | device at full rank % | difference, points |",
        "|---|---|---|---|",
    ]
    for result in full_rank:
        accuracy = result.bundles[0].accuracy
        lines.append(
            f"| {result.task} | {100 * result.fine_tuned:.2f} | {100 * accuracy:.2f} "
            f"| {100 * (accuracy - result.fine_tuned):+.2f} |"
        )
    lines.append("")
    return "\n".join(lines)


def _table(result: TaskComparison) -> list[str]:
    lines = [
        f"## {result.task}: {result.labels} labels, {result.test_examples} test examples",
        "",
        f"Full fine-tuning {percent(result.fine_tuned)} % ({result.fp32_bytes:,} bytes in fp32), "
        f"frozen probe {percent(result.frozen_probe)} %, "
        f"head on a zero delta {percent(result.zero_delta)} %.",
        "",
        "| budget | method | c | bytes | delta | μ | accuracy % | of fine-tuned % | gain % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scored in result.bundles:
        report = scored.report
        cells = (
            report.budget,
            report.method,
            "" if report.extra_rank is None else str(report.extra_rank),
            f"{report.size:,}",
            f"{report.delta_size:,}",
            f"{report.paper_bits // 8:,}",
            percent(scored.accuracy),
            percent(scored.accuracy / result.fine_tuned),
            _gain(scored.accuracy, result),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _gain(accuracy: float, result: TaskComparison) -> str:
    most = result.fine_tuned - result.frozen_probe
    return "–" if most < 0.02 else percent((accuracy - result.frozen_probe) / most)


if __name__ == "__main__":
    main()
