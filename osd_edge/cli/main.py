"""`osd-edge`: the command group and its entry point."""

import io
import sys

import click

from osd_edge import __version__
from osd_edge.cli.bench import bench
from osd_edge.cli.bundle import inspect, verify
from osd_edge.cli.compare import compare
from osd_edge.cli.demo import demo
from osd_edge.cli.device import evaluate, run
from osd_edge.cli.export import export
from osd_edge.cli.export_adapter import export_adapter
from osd_edge.cli.serve import serve
from osd_edge.errors import Code, OsdEdgeError, shown


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="osd-edge")
def cli() -> None:
    """Many fine-tuned tasks over one base model: export on a workstation, swap on a device."""


for command in (export, inspect, verify, run, evaluate, bench, serve, compare, demo):
    cli.add_command(command)
export.add_command(export_adapter)


def main() -> None:
    """Run the command line: exit code 0 done, 1 refused or failed, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without our arrows
    try:
        cli.main(standalone_mode=True)
    except OsdEdgeError as error:
        click.echo(f"osd-edge: {shown(str(error), 600)} [{error.code}]", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = {"tokenizers": "text", "segno": "serve"}
        name = (error.name or "").split(".")[0]
        if name in ("", "osd_edge"):
            raise
        click.echo(
            f"osd-edge: this command needs {name}: install osd-edge with its extra "
            f"[{extra.get(name, 'export')}], as README says [{Code.INPUT_MISSING_PACKAGE}]",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
