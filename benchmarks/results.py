"""Our methods and their peers on four real checkpoints: makes docs/results.md (`make results`).

Test sets are used for nothing but the accuracies in the tables; whatever a method chooses, it
chooses on a calibration sample of the training set. Every result is kept below OUT, so that an
interrupted run goes on where it stopped.
"""

import json
import os
import random
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click

from benchmarks.device_check import DeviceCheck, check_device
from benchmarks.language_page import chapter_in, with_chapter
from benchmarks.results_data import Results
from benchmarks.results_page import page
from osd_edge.cli.bars import bar
from osd_edge.cli.compare import as_csv
from osd_edge.cli.plot import plot_outcomes
from osd_edge.data.examples import read_examples
from osd_edge.data.files import write_file
from osd_edge.exporters import export_base
from osd_edge.exporters.compare.comparison import MethodComparison, Outcome, Setting, compare
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.quiet import quiet_libraries

CHECKPOINTS = ("trec", "mr", "goemotions", "banking77")
# Or as many as the training set has. Our methods do not look at their labels; the paper's take 512.
CALIBRATION_ROWS = 8000

BudgetsByMethod = Mapping[str, tuple[str | None, ...]]  # budgets by method

_OWN_SIZE: tuple[str | None, ...] = (None,)
OURS: BudgetsByMethod = {
    "osd-rd-none": ("16KiB", "32KiB", "64KiB"),
    "osd-rd": ("8KiB", "16KiB", "48KiB"),
    "osd-rd-codes": ("8KiB", "16KiB", "48KiB"),
    "head": _OWN_SIZE,
}
PEERS: BudgetsByMethod = {
    "truncsvd": ("r=1", "r=2"),
    "truncsvd-int8": ("r=1", "r=2"),
    "truncsvd-int4": ("32KiB", "64KiB", "r=1", "r=2"),
    "magtruncsvd": ("r=1",),
    "osd": ("r=1", "r=2"),
    "osd-int8": ("64KiB", "r=1"),
    "lora": ("r=0.5", "r=1", "r=2", "r=4"),
    "bitdelta": _OWN_SIZE,
    "axis-sign": _OWN_SIZE,
    "compeft": ("64KiB", "r=1", "r=4"),
    "zstd": _OWN_SIZE,
}
# Peers with the refinement that ours get.
REFINED: BudgetsByMethod = {"control-truncsvd": ("64KiB",), "control-lora": ("r=0.5",)}
# The same refinement without the delta: it would do as well if it retrained the task.
CONTROLS: BudgetsByMethod = {"control-random": ("16KiB",), "control-zero": ("16KiB",)}
# A hard task of many classes needs larger files, and has the largest test set: fewer peers.
INSTEAD: Mapping[str, BudgetsByMethod] = {
    "banking77": {
        "osd-rd-none": ("64KiB",),
        "osd-rd": ("64KiB",),
        "osd-rd-codes": ("64KiB", "96KiB"),
        "truncsvd": ("r=1",),
        "truncsvd-int8": (),
        "truncsvd-int4": ("64KiB", "r=1"),
        "osd": ("r=1",),
        "osd-int8": ("64KiB",),
        "lora": ("r=4",),
        "axis-sign": (),
        "compeft": ("64KiB",),
        "zstd": (),
        **dict.fromkeys(REFINED, ()),
    },
    "goemotions": CONTROLS,
    "trec": CONTROLS,
}
AGAIN: BudgetsByMethod = {"osd-rd-codes": ("16KiB", "48KiB")}  # in the other draws
AGAIN_INSTEAD: Mapping[str, BudgetsByMethod] = {"banking77": {"osd-rd-codes": ("64KiB",)}}


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option("--report", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, default=90.0, show_default=True, help="Start nothing later.")
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How often the calibration set is drawn.",
)
@click.option("--tasks", default=",".join(CHECKPOINTS), show_default=True, metavar="LIST")
@click.option("--methods", default="all", show_default=True, metavar="LIST", help="Only these.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Tasks at a time, on one thread each: small models gain little from a second one.",
)
def main(
    shared: Path,
    out: Path,
    report: Path,
    minutes: float,
    draws: int,
    tasks: str,
    methods: str,
    jobs: int,
) -> None:
    """Measure, and write REPORT with a picture and a CSV beside it; files stay in OUT."""
    if not (shared / "checkpoints").is_dir():
        raise click.ClickException(f"{shared} has no folder checkpoints: name one with --shared")
    listed = tasks.split(",")
    if unknown := set(listed) - set(CHECKPOINTS):
        raise click.ClickException(
            f"expected tasks among {', '.join(CHECKPOINTS)}, found {', '.join(sorted(unknown))}"
        )
    start = time.monotonic()
    chosen = None if methods == "all" else methods.split(",")
    plan = [
        (name, draw, settings)
        for draw in range(draws)
        for name in listed
        if (settings := planned(name, draw, chosen))
    ]
    outcomes: dict[str, list[Outcome]] = {}
    left_out = []
    # One thread for each process has to be said before torch is imported in it.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        deadline = time.time() + 60 * minutes
        found = [pool.submit(_compared, shared, out, *part, deadline) for part in plan]
        for (name, draw, settings), future in zip(plan, found, strict=True):
            outcome = future.result()
            click.echo(f"{name}, draw {draw}: {len(settings)} results", err=True)
            if outcome is None:
                left_out.append(f"{name}, draw {draw}")
            else:
                outcomes.setdefault(name, []).append(outcome)
    checks = _device_checks(minilm_folder(), shared, out, outcomes)
    results = Results(outcomes, tuple(OURS), tuple(REFINED), checks, tuple(left_out))
    first = [drawn[0] for drawn in outcomes.values()]
    plot_outcomes(first, report.with_suffix(".png"))
    everything = [outcome for drawn in outcomes.values() for outcome in drawn]
    write_file(report.with_suffix(".csv"), as_csv(everything).encode())
    text = page(results, report.with_suffix(".png").name)
    # The chapter on tasks that generate text is made by itself, from comparisons of its own.
    own = chapter_in(report.read_text("utf-8")) if report.is_file() else ""
    write_file(report, with_chapter(text, own).encode())
    click.echo(f"{(time.monotonic() - start) / 60:.0f} minutes", err=True)


def _compared(
    shared: Path, out: Path, name: str, draw: int, settings: tuple[Setting, ...], deadline: float
) -> Outcome | None:
    """One draw of one task, in a process of its own; None after the deadline (a Unix time)."""
    if time.time() > deadline:
        return None
    quiet_libraries()
    return compare(_job(minilm_folder(), shared, name, draw, settings), out / name, bar)


def planned(task: str, draw: int, chosen: list[str] | None) -> tuple[Setting, ...]:
    """The settings of one draw: the first has all, the others what is spread by the draw most."""
    plan = AGAIN_INSTEAD.get(task, AGAIN)
    if draw == 0:
        plan = {**OURS, **PEERS, **REFINED, **INSTEAD.get(task, {})}
    return tuple(
        (method, budget)
        for method, budgets in plan.items()
        if chosen is None or method in chosen
        for budget in budgets
    )


def _job(
    base: Path, shared: Path, name: str, draw: int, settings: tuple[Setting, ...]
) -> MethodComparison:
    train = read_examples(shared / "data" / name / "train.tsv")
    test = read_examples(shared / "data" / name / "test.tsv")
    tuned = shared / "checkpoints" / name
    training = json.loads((tuned / "training.json").read_text("utf-8"))
    rows = min(CALIBRATION_ROWS, len(train))
    calibration = tuple(random.Random(draw).sample(train, rows))
    return MethodComparison(
        base,
        tuned,
        calibration,
        test,
        settings,
        task=name,
        seed=draw,
        probe=training["frozen_probe_accuracy"],
    )


def _device_checks(
    base: Path, shared: Path, out: Path, outcomes: Mapping[str, list[Outcome]]
) -> dict[str, DeviceCheck]:
    """The largest file of refined codes of each task, on the device runtime and in torch."""
    export_base(base, out / "base", overwrite=True, progress=bar)
    checks = {}
    for name, drawn in outcomes.items():
        made = [p for p in drawn[0].points if p.method == "osd-rd-codes" and p.files]
        if made:
            largest = max(made, key=lambda point: point.size or 0)
            checks[name] = check_device(
                out / "base",
                base,
                shared / "checkpoints" / name,
                out / name / largest.files[0],
                read_examples(shared / "data" / name / "test.tsv"),
                f"{largest.method} {largest.budget}",
            )
    return checks


if __name__ == "__main__":
    main()
