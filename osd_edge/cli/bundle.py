"""`osd-edge inspect` and `osd-edge verify`: what a bundle holds, and whether it can be trusted."""

from pathlib import Path

import click

from osd_edge.cli.options import base_option, json_option
from osd_edge.cli.output import bar, print_json, table
from osd_edge.data.sizes import format_size
from osd_edge.errors import shown


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show what is in the task bundle FILE: sites, ranks, densities, bytes by part, scores."""
    from osd_edge.formats.bundle.reader import read_bundle_file
    from osd_edge.formats.bundle.summary import summarize

    summary = summarize(read_bundle_file(file), file.stat().st_size)
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
    if not summary["sites"]:
        click.echo("values  no delta: a head over the unchanged base")
        click.echo(f"bytes   {_pairs(summary['bytes'])}")
        return
    click.echo(
        f"values  {summary['values']}, {summary['nonzeros']} stored at "
        f"{summary['bits_per_nonzero']:.2f} bits each, positions included"
    )
    click.echo(f"bytes   {_pairs(summary['bytes'])}")
    click.echo()
    header = ("site", "n", "d", "rank", "density U", "density V", "bytes")
    rows = [
        (
            str(site["site"]),
            str(site["n"]),
            str(site["d"]),
            str(site["rank"]),
            f"{site['density_u']:.3f}",
            f"{site['density_v']:.3f}",
            str(site["bytes"]),
        )
        for site in summary["sites"]
    ]
    click.echo(table(header, rows))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@base_option
@json_option
def verify(file: Path, base: Path, as_json: bool) -> None:
    """Check the task bundle FILE against the base package DIR, every byte of both.

    Format, digest, base fingerprint, shapes and branches; and the digests of the package's files.
    """
    from osd_edge.formats.bundle.reader import read_bundle_file
    from osd_edge.formats.package.fits import check_fits
    from osd_edge.formats.package.manifest import check_digests, read_manifest

    manifest = read_manifest(base)
    bundle = read_bundle_file(file)
    check_fits(bundle, manifest)
    check_digests(base, manifest, bar)
    if as_json:
        print_json({"task": bundle.task, "base": bundle.base, "verified": True})
    else:
        click.echo(f"{file}: task {bundle.task!r} is whole and fits {base}")


def _pairs(values: dict[str, object]) -> str:
    pairs = ", ".join(f"{key} {value}" for key, value in values.items())
    return shown(pairs, 200) or "not stated"
