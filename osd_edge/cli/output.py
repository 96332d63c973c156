"""Prints for all commands alike: JSON, tables and refusals."""

import json
from collections.abc import Sequence

import click

from osd_edge.errors import OsdEdgeError, shown


def print_json(value: object) -> None:
    """Prints `value` as indented JSON; null stands for NaN and infinity, which JSON has not."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    click.echo(json.dumps(finite, indent=2, ensure_ascii=True))


def refusal_line(error: OsdEdgeError) -> str:
    """The line of a refusal that people are shown."""
    return f"osd-edge: {shown(str(error), 600)} [{error.code}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out text in columns: the first to the left, the others to the right."""
    header, *rows = [[shown(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(share: float) -> str:
    """Writes a share, 0 to 1, in per cent for people.

    >>> percent(0.953)
    '95.3'
    """
    return f"{100 * share:.1f}"
