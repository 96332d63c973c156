"""`osd-edge bench`: what tasks cost on this device."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.options import base_option, bundles_option
from osd_edge.cli.output import bar, print_json, table
from osd_edge.sizes import format_size

if TYPE_CHECKING:
    from osd_edge.device_tests import MemoryScenario, Report
    from osd_edge.device_tests.latency import Measured
    from osd_edge.device_tests.samples import Ratio
    from osd_edge.device_tests.swap import Swap


@click.command()
@base_option
@bundles_option
@click.option("--tokens", type=click.IntRange(min=1), default=128, show_default=True, metavar="N")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="0: all cores.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Timed runs of each, at least; small models get more.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the report as JSON instead of printing it; - is standard output.",
)
def bench(
    base: Path,
    bundles: tuple[Path, ...],
    tokens: int,
    batch: int,
    threads: int,
    runs: int,
    json_file: Path | None,
) -> None:
    """Measure latency, swaps and memory of task bundles over a base package on this machine."""
    from osd_edge.device_tests import measure
    from osd_edge.files import check_file_writable, write_file

    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        check_file_writable(json_file)
    report = measure(
        base, bundles, tokens=tokens, batch=batch, threads=threads, runs=runs, progress=bar
    )
    if json_file is None:
        click.echo(describe(report))
    elif to_stdout:
        print_json(report.as_dict())
    else:
        text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n"
        write_file(json_file, text.encode())
        click.echo(f"{json_file}: the report")


def describe(report: "Report") -> str:
    """The report as tables for people."""
    machine, settings = report.machine, report.settings
    memory = "" if machine.memory_bytes is None else f", {format_size(machine.memory_bytes)} memory"
    threads = "all cores" if settings.threads == 0 else f"{settings.threads} threads"
    threads = "1 thread" if settings.threads == 1 else threads
    difference = report.latency.plain_difference
    lines = [
        f"date      {report.date}",
        f"machine   {machine.processor}, {machine.architecture}, {machine.system}, "
        f"{machine.cpus_usable} of {machine.cpus} CPUs{memory}",
        f"software  osd-edge {machine.osd_edge}, onnxruntime {machine.onnxruntime}, "
        f"numpy {machine.numpy}, Python {machine.python}",
        f"base      {report.base.family} {report.base.fingerprint[:12]}…, "
        f"{format_size(report.base.file_bytes)}",
        f"runs      batch {settings.batch} of {settings.tokens} tokens, {threads}, "
        f"{report.latency.rounds} rounds",
        *(f"note      {note}" for note in report.notes),
        "",
        "Latency in ms; ratios are medians over the rounds (10th to 90th percentile)",
        _latency_table(report.latency.measured),
    ]
    if difference is not None:
        same = "the same to the last bit" if difference == 0 else f"apart by up to {difference:.1e}"
        lines.append(f"hidden states of the plain graph and of no task: {same}")
    lines += [
        "",
        "Swaps, medians in ms: load = read and check the file; cold = load, decode, activate;",
        "warm = activate a decoded task; first run = the run after a cold swap",
        _swap_table(report.swaps),
        "",
        "Memory of a fresh process after one run; anonymous = no file behind it; PSS and USS are",
        "lower where another program has the same libraries or base open",
        _memory_table(report.memory),
    ]
    return "\n".join(lines)


def _latency_table(measured: "tuple[Measured, ...]") -> str:
    names = {"plain": "plain graph", "base": "no task"}
    header = ("", "p50", "p90", "p95", "p99", "trimmed mean", "to plain", "to no task")
    rows = []
    for entry in measured:
        latency = entry.latency
        figures = (
            latency.p50_ms,
            latency.p90_ms,
            latency.p95_ms,
            latency.p99_ms,
            latency.trimmed_mean_ms,
        )
        rows.append(
            (
                names.get(entry.what, entry.task or ""),
                *(f"{figure:.2f}" for figure in figures),
                _ratio(entry.to_plain),
                _ratio(entry.to_base),
            )
        )
    return table(header, rows)


def _ratio(ratio: "Ratio | None") -> str:
    return "-" if ratio is None else f"{ratio.median:.3f} ({ratio.p10:.3f}-{ratio.p90:.3f})"


def _swap_table(swaps: "tuple[Swap, ...]") -> str:
    header = ("task", "file", "decoded", "load", "decode", "cold", "first run", "warm")
    rows = [
        (
            swap.task,
            format_size(swap.file_bytes),
            format_size(swap.decoded_bytes),
            f"{swap.load_ms:.2f}",
            f"{swap.decode_ms:.2f}",
            f"{swap.cold_ms:.2f}",
            f"{swap.first_run_ms:.2f}",
            f"{swap.warm_ms:.4f}",
        )
        for swap in swaps
    ]
    return table(header, rows)


def _memory_table(memory: "tuple[MemoryScenario, ...]") -> str:
    header = ("process", "RSS", "PSS", "USS", "anonymous", "peak RSS")
    rows: list[tuple[str, ...]] = []
    for scenario in memory:
        use = scenario.use
        if use is None:
            rows.append((scenario.name, *["-"] * (len(header) - 1)))
            continue
        sizes = (use.rss, use.pss, use.uss, use.anonymous, use.peak)
        cells = ("not available here" if size is None else format_size(size) for size in sizes)
        rows.append((scenario.name, *cells))
    notes = [f"{scenario.name}: {scenario.note}" for scenario in memory if scenario.note]
    return "\n".join([table(header, rows), *notes])
