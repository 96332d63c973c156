"""`osd-edge export base`: a model becomes a base package."""

from pathlib import Path
from typing import Any

import click

from osd_edge.cli.bars import bar
from osd_edge.cli.fields import options_of, values_of
from osd_edge.cli.options import MODEL, example, json_option
from osd_edge.cli.output import print_json
from osd_edge.data.sizes import format_size
from osd_edge.exporters.base_options import BaseOptions


@click.command("base", epilog=example("osd-edge export base path/to/base -o minilm"))
@click.argument("model", type=MODEL)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR")
@options_of(BaseOptions)
@json_option
def export_base(model: str, out: Path, as_json: bool, **given: Any) -> None:
    """Write the base package of MODEL, a folder or hub id in Hugging Face format, to DIR."""
    from osd_edge.exporters import export_base as run
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    manifest = run(model, out, progress=bar, **values_of(BaseOptions, given))
    size = sum(entry["bytes"] for entry in manifest.files.values())
    branches = sum(site.u is not None for site in manifest.sites)
    reads_texts = manifest.text is not None
    if as_json:
        print_json(
            {
                "path": str(out),
                "family": manifest.family,
                "fingerprint": manifest.fingerprint,
                "sites": len(manifest.sites),
                "branches": branches,
                "weights": manifest.made["weights"],
                "factors": manifest.factors,
                "vectors": len(manifest.vectors),
                "bytes": size,
                "texts": reads_texts,
                "genai": manifest.made.get("genai"),
            }
        )
        return
    click.echo(
        f"{out}: {manifest.family} base {manifest.fingerprint[:12]}…, {format_size(size)}, "
        f"delta branches at {branches} of {len(manifest.sites)} linear layers"
    )
    if not reads_texts and "input_ids" in manifest.inputs:
        click.echo("  no tokenizer came with the model: its tasks take token ids, not texts")
    if manifest.vectors:
        click.echo(f"  takes changes of {len(manifest.vectors)} biases and norms")
    if manifest.generation is not None:
        click.echo(f"  onnxruntime-genai opens it, and takes {manifest.made['genai']}")
