"""Runs `osd-edge bench` over a base of the size that people ship, with tasks of that size.

Makes the models of `benchmarks.at_size`, base packages with fp32 and int4 weights and a task (all
of which are used again where they are in the work folder), measures each package with one thread,
keeps the reports beside them and prints a table. A package that this machine has no memory for is
left out, and the table says so.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.at_size_models import MODELS, make_models
from osd_edge.cli.bars import bar
from osd_edge.data.files import make_folder, write_file
from osd_edge.device_tests import Plan, Report, measure, read_report
from osd_edge.device_tests.gauges.memory import available_bytes
from osd_edge.device_tests.render.figures import scenario_of, text_of

SCENARIOS = ("start", "base", "task", "tasks", "swap", "memory-low")
_ROOM = 2.6  # times the weights: the file's pages, what onnxruntime prepares of them, and a run
_FIGURES = (
    ("the package on disk", "base", "disk_bytes"),
    ("processor time, plain graph, ms", "base", "plain_cpu_ms"),
    ("latency, no task over plain", "base", "to_plain_ratio"),
    ("latency, a task over plain", "task", "to_plain_ratio"),
    ("swap of a decoded task, ms", "swap", "warm_ms"),
    ("swap from its file, ms", "swap", "cold_ms"),
    ("memory (PSS), no task", "start", "pss_bytes"),
    ("memory (PSS), one task", "task", "pss_bytes"),
    ("memory (PSS), all tasks", "tasks", "pss_bytes"),
    ("a task more adds", "tasks", "per_task_bytes"),
    ("memory (PSS), one task, memory=low", "memory-low", "pss_bytes"),
)


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--model", type=click.Choice(sorted(MODELS)), default="roberta-large")
@click.option("--layers", type=int, help="Fewer layers than the model has.")
@click.option("--weights", "kinds", multiple=True, default=["fp32", "int4"], show_default=True)
@click.option("--budget", default="64KiB", show_default=True)
@click.option("--tasks", default=8, show_default=True, help="Loaded at once, where that counts.")
@click.option("--quick", is_flag=True, help="Few runs: shows that it works.")
@click.option("--work", type=click.Path(path_type=Path), required=True)
def main(
    model: str,
    layers: int | None,
    kinds: tuple[str, ...],
    budget: str,
    tasks: int,
    quick: bool,
    work: Path,
) -> None:
    """Make what is not there yet, measure, and print the table."""
    make_folder(work)
    reports: dict[str, Report | None] = {}
    for kind in kinds:
        package, bundle = prepare(model, layers or MODELS[model].layers, kind, budget, work)
        size = sum(path.stat().st_size for path in package.glob("*.data"))
        room = available_bytes()
        if room is not None and room < _ROOM * size:
            print(f"{kind}: {room >> 20} MiB free, not enough for {size >> 20}", file=sys.stderr)
            reports[kind] = None
            continue
        plan = Plan(base=package, bundles=(bundle,), tasks=tasks, scenarios=SCENARIOS, scratch=work)
        path = work / f"bench-{kind}.json"

        def keep(report: Report, path: Path = path) -> None:
            write_file(path, (json.dumps(report, indent=1) + "\n").encode())

        measure(plan.quick() if quick else plan, progress=bar, keep=keep)
        reports[kind] = read_report(path)
    print(table(model, reports))


def prepare(model: str, layers: int, kind: str, budget: str, work: Path) -> tuple[Path, Path]:
    """The base package with weights of `kind`, and the bundle; made where they are not there."""
    from osd_edge.exporters import export_base, export_task
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    base, tuned = work / "base", work / "tuned"
    package, bundle = work / f"package-{kind}", work / "task.osd.safetensors"
    if not (tuned / "model.safetensors").is_file():
        make_models(model, layers, base, tuned, bar)
    if not package.is_dir():
        export_base(base, package, weights=kind, progress=bar)
    if not bundle.is_file():
        export_task(base, tuned, bundle, budget=budget, refine="none", progress=bar)
    return package, bundle


def table(model: str, reports: dict[str, Any]) -> str:
    """A row for each figure, a column for each kind of weights."""
    lines = [f"| {model} | {' | '.join(reports)} |", "|---" * (len(reports) + 1) + "|"]
    for title, scenario, figure in _FIGURES:
        cells: Sequence[str] = [
            "not enough memory here"
            if report is None
            else text_of(scenario_of(report, scenario), figure)
            for report in reports.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
