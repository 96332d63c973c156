"""Writes a report as CSV: a line for each figure."""

import csv
import io
from collections.abc import Iterator

from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.printable import printable
from osd_edge.device_tests.report.schema import Figures, Report

_FORMULA = frozenset("=+-@")
_STATISTICS = ("n", "min", "p10", "p50", "p90", "p95", "p99", "trimmed_mean")
HEADER = ("scenario", "role", "status", "of", "figure", *_STATISTICS, "missing")


def to_csv(report: Report) -> str:
    """Writes a header line and a line for each figure, to read with a spreadsheet or a program.

    Args:
        report: A report, as `measure` or `read_report` gives it.

    Returns:
        CSV with lines that end in a line feed. A plain number stands under `p50`.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import to_csv
        >>> to_csv(read_report("report.json")).splitlines()[0]
        'scenario,role,status,of,figure,n,min,p10,p50,p90,p95,p99,trimmed_mean,missing'
    """
    check_report(report)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for scenario in report["scenarios"]:
        head = (scenario["id"], scenario["role"], scenario["status"])
        writer.writerows(_cells(*head, "", *line) for line in _lines(scenario))
        for row in scenario["rows"]:
            of = " ".join(f"{name}={value}" for name, value in row["of"].items())
            writer.writerows(_cells(*head, of, *line) for line in _lines(row))
    for name, part in (("conditions", report["conditions"]), ("noise", report["noise"])):
        writer.writerows(_cells(name, "", "", "", *line) for line in _lines(part))
    return printable(text.getvalue())


def _cells(*cells: object) -> Iterator[object]:
    """Puts an apostrophe, which stays hidden, before words that a spreadsheet would run."""
    for cell in cells:
        is_formula = isinstance(cell, str) and cell.lstrip()[:1] in _FORMULA
        yield f"'{cell}" if is_formula else cell


def _lines(part: Figures) -> Iterator[tuple[object, ...]]:
    for name, figure in part["figures"].items():
        if isinstance(figure, dict):
            statistics: list[object] = [figure.get(key, "") for key in _STATISTICS]
        else:
            statistics = ["" if key != "p50" or figure is None else figure for key in _STATISTICS]
        missing = part["missing"].get(name)
        yield (name, *statistics, "" if missing is None else missing["reason"])
