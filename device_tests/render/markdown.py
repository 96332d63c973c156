"""Writes a report as Markdown."""

import re

from osd_edge.data.arguments import as_whole
from osd_edge.device_tests.render.tables import Table, facts_of, tables_of
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.printable import printable
from osd_edge.device_tests.report.schema import Report

_MARKS = re.compile(r"[\\|\[`]")


def to_markdown(report: Report, *, level: int = 1) -> str:
    """Writes the whole report as Markdown: the verdict, the facts, every table.

    Args:
        report: A report, as `measure` or `read_report` gives it.
        level: The level of its heading; tables have headings one level below.

    Returns:
        Markdown in which every text of the report is escaped.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.
        InputError: `input.number` for a level that is not 1 to 5.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import to_markdown
        >>> print(to_markdown(read_report("report.json"), level=2).splitlines()[0])
        ## What tasks cost on this device
    """
    check_report(report)
    level = as_whole(level, "level", 1, 5)
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
    """Writes one table as Markdown."""
    rows = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *table.rows]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(text: str) -> str:
    """Escapes the text to one line with no table's bar, tag, link or image in it."""
    line = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", line)
