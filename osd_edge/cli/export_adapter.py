"""`osd-edge export adapter`: a task for programs that do without osd_edge (workstation)."""

from pathlib import Path

import click

from osd_edge.cli.options import MODEL, base_option, example, json_option
from osd_edge.cli.output import print_json
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code


@click.command(
    "adapter",
    epilog=example("osd-edge export adapter mr.osd.safetensors --base minilm -o mr.onnx_adapter"),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@base_option
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "peft"]),
    default="onnx",
    show_default=True,
    help="onnx: for onnxruntime's LoraAdapter in any language. peft: a folder for PeftModel.",
)
@click.option(
    "--model", type=MODEL, metavar="MODEL", help="With --to peft: where PEFT finds the base."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="NAME.onnx_adapter, beside which the head is written; or a folder, with --to peft.",
)
@json_option
def export_adapter(
    bundle: Path, base: Path, target: str, model: str | None, out: Path, as_json: bool
) -> None:
    """Write the task in BUNDLE as an adapter, for programs that do without osd_edge."""
    from osd_edge.errors import InputError
    from osd_edge.exporters.quiet import quiet_libraries

    quiet_libraries()
    if target == "peft":
        from osd_edge.exporters.adapters.peft_folder import export_peft

        written = export_peft(bundle, base, out, model)
    else:
        from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter

        if model is not None:
            raise InputError(Code.INPUT_OPTIONS, "--model goes with --to peft")
        written = export_onnx_adapter(bundle, base, out)
    files = {str(p): size for p, size in zip(written.paths, written.sizes, strict=True)}
    if as_json:
        print_json({"files": files, "sites": written.sites})
        return
    click.echo(f"{written.sites} sites")
    for path, size in files.items():
        click.echo(f"  {path}  {format_size(size)}")
