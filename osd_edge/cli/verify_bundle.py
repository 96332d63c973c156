"""`osd-edge verify`: checks that a task bundle is whole and fits a base package."""

from pathlib import Path

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.options import base_option, example, json_option
from osd_edge.cli.output import print_json


@click.command(epilog=example("osd-edge verify mr.osd.safetensors --base minilm"))
@click.argument("file", type=click.Path(path_type=Path))
@base_option
@json_option
def verify(file: Path, base: Path, as_json: bool) -> None:
    """Check the task bundle FILE against the base package DIR, every byte of both.

    Format, digest, base fingerprint, shapes and branches; and the digests of the package's files.
    """
    from osd_edge.formats.bundle.reader import read_bundle_file
    from osd_edge.formats.package.fits import check_fits
    from osd_edge.formats.package.manifest_reader import check_digests, read_manifest

    manifest = read_manifest(base)
    bundle = read_bundle_file(file)
    check_fits(bundle, manifest)
    check_digests(base, manifest, bar)
    if as_json:
        print_json({"task": bundle.task, "base": bundle.base, "verified": True})
    else:
        click.echo(f"{file}: task {bundle.task!r} is whole and fits {base}")
