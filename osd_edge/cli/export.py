"""`osd-edge export`: the group of the workstation's commands."""

import click

from osd_edge.cli.export_adapter import export_adapter
from osd_edge.cli.export_base import export_base
from osd_edge.cli.export_task import export_task
from osd_edge.cli.options import example


@click.group(epilog=example("osd-edge export base path/to/base -o minilm"))
def export() -> None:
    """Make base packages and task bundles (workstation)."""


export.add_command(export_adapter)
export.add_command(export_base)
export.add_command(export_task)
