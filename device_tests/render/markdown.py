"""A report as Markdown."""

import re

from osd_edge.device_tests.render.tables import Table, facts_of, tables_of
from osd_edge.device_tests.report.printable import printable
from osd_edge.device_tests.report.schema import Report

_MARKS = re.compile(r"[\\|\[`]")


def to_markdown(report: Report, *, level: int = 1) -> str:
    """The whole report, its heading at `level`."""
    heading = "#" * level
    lines = [
        f"{heading} What tasks cost on this device",
        "",
        f"**{_cell(report['verdict']['line'])}**",
        "",
    ]
    lines += [f"- {name}: {_cell(value)}" for name, value in facts_of(report)]
    for table in tables_of(report):
        lines += ["", f"{heading}# {table.title}", "", markdown_table(table)]
        lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def markdown_table(table: Table) -> str:
    """The table alone."""
    rows = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *table.rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(text: str) -> str:
    """The text on one line, and no more than text: no table's bar, no tag, no link, no image."""
    line = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", line)
