"""`osd-edge inspect`: shows what is in a task bundle."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.options import example, json_option
from osd_edge.cli.output import print_json, table
from osd_edge.cli.text_settings import text_settings
from osd_edge.data.sizes import format_size
from osd_edge.errors import shown

if TYPE_CHECKING:
    from osd_edge.formats.bundle.model import Bundle

_HEADER = ("site", "n", "d", "rank", "density U", "density V", "bytes")


@click.command(
    epilog=example(
        "osd-edge inspect mr.osd.safetensors", "osd-edge inspect mr.osd.safetensors --base minilm"
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Base package, which names the sites; without it they have numbers alone.",
)
@json_option
def inspect(file: Path, base: Path | None, as_json: bool) -> None:
    """Show what is in the task bundle FILE: sites, ranks, densities, bytes by part, scores."""
    from osd_edge.formats.bundle.reader import read_bundle_file
    from osd_edge.formats.bundle.summary import summarize

    bundle = read_bundle_file(file)
    summary = summarize(bundle, file.stat().st_size)
    names = None if base is None else _site_names(bundle, base)
    for site in summary["sites"]:
        site["name"] = None if names is None else names[site["site"]]
    if as_json:
        print_json(summary)
        return
    version, tool = shown(summary["task_version"]), shown(summary["tool"])
    click.echo(f"task {summary['task']!r} version {version}, ", nl=False)
    click.echo(f"{format_size(summary['bytes']['file'])}, made by {tool}")
    click.echo(f"base    {summary['base']}")
    click.echo(f"labels  {shown(', '.join(summary['labels']), 400)}")
    click.echo(f"head    {summary['head']}")
    click.echo(f"method  {_pairs(summary['method'])}")
    for name, score in summary["scores"].items():
        value = _pairs(score) if isinstance(score, dict) else shown(str(score))
        click.echo(f"score   {shown(name)}: {value}")
    for line in _optional(summary):
        click.echo(line)
    if not summary["sites"]:
        alone = summary["vectors"]
        what = "no layer has a delta" if alone else "no delta: a head over the unchanged base"
        click.echo(f"values  {what}")
        click.echo(f"bytes   {_pairs(summary['bytes'])}")
        return
    click.echo(
        f"values  {summary['values']}, {summary['nonzeros']} stored at "
        f"{summary['bits_per_nonzero']:.2f} bits each, positions included"
    )
    click.echo(f"bytes   {_pairs(summary['bytes'])}")
    click.echo()
    click.echo(table(_HEADER, [*map(_site_row, summary["sites"]), *_head_rows(summary)]))


def _site_names(bundle: "Bundle", base: Path) -> list[str]:
    """The names of a base package's sites. Raises BundleError where the bundle is for another."""
    from osd_edge.formats.package.fits import check_fits
    from osd_edge.formats.package.manifest_reader import read_manifest

    manifest = read_manifest(base)
    check_fits(bundle, manifest)
    return [site.name for site in manifest.sites]


def _site_row(site: dict[str, Any]) -> tuple[str, ...]:
    number, name = site["site"], site["name"]
    return (
        str(number) if name is None else f"{number:<4} {shown(name)}",
        *(str(site[key]) for key in ("n", "d", "rank")),
        *(f"{site[key]:.3f}" for key in ("density_u", "density_v")),
        str(site["bytes"]),
    )


def _head_rows(summary: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each layer of the head, of rank `full` where it has no factors."""
    for number, layer in enumerate(summary["head_layers"]):
        n, d, size = (str(layer[key]) for key in ("n", "d", "bytes"))
        yield f"head.{number}", n, d, str(layer["rank"] or "full"), "", "", size


def _optional(summary: dict[str, Any]) -> Iterator[str]:
    """A line for each part that a bundle may have and this one has."""
    if summary["sequence"]:
        yield f"file    number {summary['sequence']} of its task"
    if summary["signed_by"] is not None:
        yield f"signed  by key {summary['signed_by']}; whether it holds was not checked"
    if summary["text"] is not None:
        yield f"text    {text_settings(summary['text'])}"
    if summary["probe"] is not None:
        probe = summary["probe"]
        yield f"probe   cases {len(probe['cases'])}, tolerance {probe['tolerance']:g}"
    if summary["vectors"]:
        numbers = sum(vector["n"] for vector in summary["vectors"])
        yield f"vectors {len(summary['vectors'])} of the base's biases and norms, {numbers} numbers"


def _pairs(values: dict[str, object]) -> str:
    pairs = ", ".join(f"{key} {value}" for key, value in values.items())
    return shown(pairs, 200) or "not stated"
