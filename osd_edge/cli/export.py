"""`osd-edge export base` and `osd-edge export task`: the workstation's commands."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osd_edge.cli.options import (
    FACTORS,
    METHODS,
    REFINEMENTS,
    SEED,
    VALUES,
    WEIGHTS,
    json_option,
)
from osd_edge.cli.output import bar, percent, print_json
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code
from osd_edge.formats.kinds import KINDS

if TYPE_CHECKING:
    from osd_edge.exporters import TaskReport
    from osd_edge.exporters.scoring.calibration import Score

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
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default="fp32",
    show_default=True,
    help="How the base's weights are stored; the same bundles run over all.",
)
@click.option(
    "--factors",
    type=click.Choice(FACTORS),
    default="fp32",
    show_default=True,
    help="In what tasks' factors are fed; fp16 halves the memory of decoded tasks.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier base package in DIR.")
@json_option
def export_base_command(
    model: str,
    out: Path,
    sites: tuple[str, ...],
    fuse: bool,
    weights: str,
    factors: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the base package of MODEL, a folder or hub id in Hugging Face format, to DIR."""
    from osd_edge.exporters import export_base
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    manifest = export_base(
        model,
        out,
        sites=sites or ("*",),
        fuse=fuse,
        factors=factors,
        weights=weights,
        overwrite=overwrite,
        progress=bar,
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
                "weights": weights,
                "factors": factors,
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
@click.option("--tuned", metavar="MODEL", help="The fine-tuned model: folder or hub id.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="DIR[:WEIGHT]",
    help="In the place of --tuned: a LoRA or DoRA adapter in PEFT's format; may be repeated.",
)
@click.option(
    "--labels", metavar="A,B,…", help="Names of an adapter's labels, in the order of its outputs."
)
@click.option(
    "--kind",
    type=click.Choice(tuple(KINDS)),
    help="Kind of task. Default: as the model's configuration says.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Examples: .tsv (label<TAB>text) or .txt (a sentence a line), or a folder of pictures, "
    "one below it for each label. Only osd needs labels.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="osd-rd",
    show_default=True,
    help="osd-rd: smallest. truncsvd, magtruncsvd, osd: the paper's. head: no delta at all.",
)
@click.option(
    "--budget",
    metavar="BUDGET",
    help="64KiB: the whole file. r=1: the paper's, bytes of fp32 rank-1 factors, head on top. "
    "Default: 16KiB for osd-rd, r=1 for the paper's methods.",
)
@click.option(
    "--keep",
    type=float,
    metavar="SHARE",
    help="osd-rd: the smallest file that keeps this share (0.95) of the gain over a frozen head, "
    "measured on held-back calibration rows, of which it takes 200.",
)
@click.option(
    "--refine",
    type=click.Choice(REFINEMENTS),
    help="osd-rd: what is trained to follow the fine-tuned model. codes: the smallest files, "
    "minutes. Default: scales, and none without --calibration.",
)
@click.option("--values", type=click.Choice(VALUES), help="Of the paper's methods. Default: fp32.")
@click.option(
    "--head-values",
    type=click.Choice(["fp16", "int8"]),
    help="Of the paper's methods. Default: fp16.",
)
@click.option(
    "--head-rank",
    type=click.IntRange(min=1),
    help="Rank of a head's big dense layers, for the paper's methods. "
    "Default: the smallest that keeps 99 % of the norm.",
)
@click.option(
    "--extra-rank",
    type=click.IntRange(min=0),
    metavar="C",
    help="c in the relaxed rank k = r + c. Default: the best of a grid by calibration loss.",
)
@click.option(
    "--base-weights",
    type=click.Choice(WEIGHTS),
    default="fp32",
    show_default=True,
    help="osd-rd, head: tune for a package with these weights. The bundle runs over any.",
)
@sites_option
@click.option(
    "--seed",
    type=SEED,
    help="osd-rd, head: draws the rows held back; osd-rd: and the order of training. Default: 0.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="osd-rd: layers decomposed at once. The bundle is the same whatever their number. "
    "Default: 1.",
)
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
    tuned: str | None,
    adapters: tuple[str, ...],
    labels: str | None,
    kind: str | None,
    calibration: Path | None,
    method: str,
    budget: str | None,
    keep: float | None,
    refine: str | None,
    values: str | None,
    head_values: str | None,
    head_rank: int | None,
    extra_rank: int | None,
    base_weights: str,
    sites: tuple[str, ...],
    seed: int | None,
    jobs: int | None,
    name: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Compress what a model learned over its base into a task bundle."""
    from osd_edge.errors import InputError
    from osd_edge.exporters import HeadOptions, export_task
    from osd_edge.exporters.quiet import quiet_libraries

    if (tuned is None) == (not adapters):
        raise click.UsageError("Give --tuned MODEL, or --adapter DIR: one of the two.")
    quiet_libraries()
    head = None
    if head_values or head_rank:
        head = HeadOptions(values=head_values or "fp16", rank=head_rank)
    for option, given, takers in (
        ("--jobs", jobs is not None, ("osd-rd",)),
        ("--seed", seed is not None, ("osd-rd", "head")),
    ):
        if given and method not in takers:
            raise InputError(Code.INPUT_OPTIONS, f"--method {method} does not take {option}")
    # Idle workers keep threads of torch's own, and those slow everything after by a sixth.
    several = jobs is not None and jobs > 1
    with ThreadPoolExecutor(jobs) if several else nullcontext() as executor:
        report = export_task(
            base,
            tuned,
            out,
            method=method,
            budget=budget,
            keep=keep,
            refine=refine,
            values=values,
            calibration=calibration,
            sites=sites or ("*",),
            name=name,
            head=head,
            extra_rank=extra_rank,
            base_weights=base_weights,
            seed=seed or 0,
            kind=kind,
            adapters=[_weighted(adapter) for adapter in adapters],
            labels=None if labels is None else [x.strip() for x in labels.split(",")],
            executor=executor,
            progress=bar,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(_describe(report))


def _weighted(adapter: str) -> tuple[str, float]:
    """Folder and weight of DIR or DIR:WEIGHT."""
    folder, colon, weight = adapter.rpartition(":")
    try:
        return (folder, float(weight)) if colon else (adapter, 1.0)
    except ValueError:
        return adapter, 1.0  # a colon of the path's own


def _describe(report: "TaskReport") -> str:
    lines = [
        f"{report.path}: task {report.task!r}, {format_size(report.size)} ({report.size} bytes)",
        f"  {report.method}"
        + (f", budget {report.budget}" if report.budget else "")
        + (f", keep {report.keep:g}" if report.keep else "")
        + (f", refined: {report.refine}" if report.refine else "")
        + (f", for {report.base_weights} weights" if report.base_weights != "fp32" else "")
        + (f", {report.values} values at {report.sites} sites" if report.sites else "")
        + (f", k = r + {report.extra_rank}" if report.extra_rank is not None else ""),
        f"  delta {report.delta_size} bytes, head and header {report.head_size} bytes"
        if report.method != "head"
        else "  no delta: a head over the unchanged base",
    ]
    if report.adapter_size is not None:
        saved = 1 - report.size / report.adapter_size
        lines.append(
            f"  the adapter's weights take {report.adapter_size} bytes: "
            + (f"{percent(saved)} % saved" if saved > 0 else "less than this bundle")
        )
    if report.paper_bits is not None:
        lines.append(
            f"  the paper's count μ: {report.paper_bits} bits ({report.paper_bits / 8:.0f} bytes)"
            + (f" of {report.paper_bits_allowed} allowed" if report.paper_bits_allowed else "")
        )
    lines += _curve(report) + _scores(report)
    if report.method == "osd-rd" and report.needs_no_delta:
        lines.append(
            "  a head on the frozen base is as good within the noise of these rows: "
            "--method head makes a bundle of it alone"
        )
    return "\n".join(lines)


def _scores(report: "TaskReport") -> list[str]:
    if not (report.fine_tuned and report.linear_only and report.compressed):
        few = f"{report.calibration_examples} calibration rows are too few to hold any back"
        none = "give --calibration to see what the compression costs"
        return [f"  not measured: {few if report.calibration_examples else none}"]
    rows = f"{report.held_back} held-back" if report.held_back else str(report.calibration_examples)
    lines = [
        f"  on {rows} calibration examples "
        + ("(accuracy, loss):" if report.labelled else "(agreement, divergence):"),
        f"    fine-tuned       {_score(report.fine_tuned)}",
        f"    linear layers    {_score(report.linear_only)}   "
        "(embedding, bias and LayerNorm deltas left out)",
        f"    this bundle      {_score(report.compressed)}",
    ]
    if report.method == "head":  # it is the frozen head
        return lines
    if report.frozen_head:
        lines.append(f"    frozen head      {_score(report.frozen_head)}   (the base as it is)")
    if report.share is not None and report.share_error is not None:
        lines.append(
            f"  keeps {percent(report.share)} ± {percent(report.share_error)} % of the gain over "
            "the frozen head"
        )
    return lines


def _curve(report: "TaskReport") -> list[str]:
    if not report.curve:
        return []
    return ["  tried (bytes, accuracy, share of the gain):"] + [
        f"    {point.size:>8}  {percent(point.accuracy):>5} %  {percent(point.share):>6} %"
        for point in report.curve
    ]


def _score(score: "Score") -> str:
    return f"{percent(score.accuracy):>5} %  {score.loss:.4f}"
