"""`osd-edge export base` and `osd-edge export task`: the workstation's commands."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.options import METHODS, VALUES, json_option
from osd_edge.cli.output import bar, percent, print_json
from osd_edge.sizes import format_size

if TYPE_CHECKING:
    from osd_edge.exporters import TaskReport
    from osd_edge.exporters.calibration import Score

sites_option = click.option(
    "--sites",
    "sites",
    multiple=True,
    metavar="GLOB",
    help="Linear layers that take part, e.g. '*.attention.*'; may be repeated. Default: all.",
)


@click.group()
def export() -> None:
    """Make base packages and task bundles (workstation)."""


@export.command("base")
@click.argument("model")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR")
@sites_option
@click.option("--fuse/--no-fuse", default=True, help="Fused operators where the family has them.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier base package in DIR.")
@json_option
def export_base_command(
    model: str, out: Path, sites: tuple[str, ...], fuse: bool, overwrite: bool, as_json: bool
) -> None:
    """Write the base package of MODEL, a folder or hub id in Hugging Face format, to DIR."""
    from osd_edge.exporters import export_base
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    manifest = export_base(
        model, out, sites=sites or ("*",), fuse=fuse, overwrite=overwrite, progress=bar
    )
    size = sum(entry["bytes"] for entry in manifest.files.values())
    branches = sum(site.u is not None for site in manifest.sites)
    if as_json:
        print_json(
            {
                "path": str(out),
                "family": manifest.family,
                "fingerprint": manifest.fingerprint,
                "sites": len(manifest.sites),
                "branches": branches,
                "bytes": size,
            }
        )
        return
    click.echo(
        f"{out}: {manifest.family} base {manifest.fingerprint[:12]}…, {format_size(size)}, "
        f"delta branches at {branches} of {len(manifest.sites)} linear layers"
    )


@export.command("task")
@click.option("--base", required=True, metavar="MODEL", help="The base: folder or hub id.")
@click.option("--tuned", required=True, metavar="MODEL", help="The fine-tuned classifier.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Examples: .tsv (label<TAB>text) or .txt (a sentence a line). osd needs labels.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="osd",
    show_default=True,
)
@click.option(
    "--budget",
    default="r=1",
    show_default=True,
    metavar="BUDGET",
    help="r=1: the paper's, bytes of fp32 rank-1 factors, head on top. 64KiB: the whole file.",
)
@click.option("--values", type=click.Choice(VALUES), default="fp32", show_default=True)
@click.option(
    "--head-values", type=click.Choice(["fp16", "int8"]), default="fp16", show_default=True
)
@click.option(
    "--head-rank",
    type=click.IntRange(min=1),
    help="Rank of a head's big dense layers. Default: the smallest that keeps 99 % of the norm.",
)
@click.option(
    "--extra-rank",
    type=click.IntRange(min=0),
    metavar="C",
    help="c in the relaxed rank k = r + c. Default: the best of a grid by calibration loss.",
)
@sites_option
@click.option("--name", help="Name of the task. Default: that of the file.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The bundle, by custom NAME.osd.safetensors.",
)
@json_option
def export_task_command(
    base: str,
    tuned: str,
    calibration: Path | None,
    method: str,
    budget: str,
    values: str,
    head_values: str,
    head_rank: int | None,
    extra_rank: int | None,
    sites: tuple[str, ...],
    name: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Compress what a classifier learned over its base into a task bundle."""
    from osd_edge.exporters import HeadOptions, export_task
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    report = export_task(
        base,
        tuned,
        out,
        method=method,
        budget=budget,
        values=values,
        calibration=calibration,
        sites=sites or ("*",),
        name=name,
        head=HeadOptions(values=head_values, rank=head_rank),
        extra_rank=extra_rank,
        progress=bar,
    )
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(_describe(report))


def _describe(report: "TaskReport") -> str:
    lines = [
        f"{report.path}: task {report.task!r}, {format_size(report.size)} ({report.size} bytes)",
        f"  {report.method}, budget {report.budget}, {report.values} values at "
        f"{report.sites} sites"
        + (f", k = r + {report.extra_rank}" if report.extra_rank is not None else ""),
        f"  delta {report.delta_size} bytes, head and header {report.head_size} bytes",
        f"  the paper's count μ: {report.paper_bits} bits ({report.paper_bits / 8:.0f} bytes)"
        + (f" of {report.paper_bits_allowed} allowed" if report.paper_bits_allowed else ""),
    ]
    if report.fine_tuned and report.linear_only and report.compressed:
        lines += [
            f"  on {report.calibration_examples} calibration examples "
            + ("(accuracy, loss):" if report.labelled else "(agreement, divergence):"),
            f"    fine-tuned       {_score(report.fine_tuned)}",
            f"    linear layers    {_score(report.linear_only)}   "
            "(embedding, bias and LayerNorm deltas left out)",
            f"    this bundle      {_score(report.compressed)}",
        ]
    else:
        lines.append("  not measured: give --calibration to see what the compression costs")
    return "\n".join(lines)


def _score(score: "Score") -> str:
    return f"{percent(score.accuracy):>5} %  {score.loss:.4f}"
