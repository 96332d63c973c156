"""Reads reports from files, devices and browsers, and refuses what breaks a rule.

`docs/bench-schema.md` has the rules and the codes. Standard library only: the process
that measures imports it, and must have no numpy (see `gauges/memory.py`).
"""

import json
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_path, expect
from osd_edge.data.bounded_read import read_bounded
from osd_edge.device_tests.report.json_bounds import bounded_int, check_bounds
from osd_edge.device_tests.report.printable import printable_lines
from osd_edge.device_tests.report.rules import check_rules
from osd_edge.device_tests.report.schema import SCHEMA, Report, is_time
from osd_edge.errors import Code, ReportError, shown

_MAX_REPORT_BYTES = 64 << 20


def read_report(path: str | Path) -> Report:
    """Reads the report in a file and holds it to the rules.

    Args:
        path: A JSON file, as `osd-edge bench --json` writes it, of at most 64 MiB.

    Returns:
        The report, with every text in it printable and on one line.

    Raises:
        ReportError: `report.missing` where the file cannot be read, `report.json` where it is not
            JSON, `report.schema`, `report.malformed` or `report.latency` where it breaks a rule.
        InputError: `input.path` for a path that is none.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> read_report("report.json")["schema"]
        'osd-edge-bench/1'
    """
    path = as_path(path, "path")
    name = shown(str(path))
    try:
        data = read_bounded(path, _MAX_REPORT_BYTES)
    except OSError as error:
        raise ReportError(
            Code.REPORT_MISSING,
            f"cannot read {name}: {error.strerror or error}; give what bench --json wrote",
        ) from error
    if data is None:
        raise ReportError(
            Code.REPORT_JSON,
            f"{name} is not the report of a measurement: too long. Give what bench --json wrote",
        )
    try:
        text = data.decode()
    except ValueError as error:
        raise ReportError(
            Code.REPORT_JSON, f"{name} is not UTF-8: give what bench --json wrote"
        ) from error
    return parse_report(text, name)


def parse_report(text: str, source: str = "the report") -> Report:
    """Parses the report in a text and holds it to the rules.

    Args:
        text: JSON from anywhere: a device, a browser, a request.
        source: What a refusal calls it.

    Returns:
        The report, with every text in it printable and on one line.

    Raises:
        ReportError: `report.json`, `report.schema`, `report.malformed` or `report.latency`.
        InputError: `input.type` for what is no text.

    Example:
        >>> from osd_edge.device_tests import parse_report
        >>> parse_report('{"schema": "another/1"}', "the page's report")
        Traceback (most recent call last):
        ReportError: the page's report: expected schema 'osd-edge-bench/1', found 'another/1'
    """
    try:
        value = json.loads(expect(text, str, "text"), parse_int=bounded_int)
    except (ValueError, RecursionError) as error:
        raise ReportError(
            Code.REPORT_JSON, f"{source} is not JSON: expected a report, as bench --json writes it"
        ) from error
    report: Report = printable_lines(check_report(value, source))
    return report


def check_report(value: object, source: str = "the report") -> Report:
    """Returns `value` where it is a report that keeps the rules of docs/bench-schema.md.

    Args:
        value: JSON data, as `json.loads` gives it.
        source: What a refusal calls it.

    Returns:
        The same object; its texts are not changed, as `parse_report` does.

    Raises:
        ReportError: `report.schema` for another schema, `report.malformed` for a broken rule,
            `report.latency` for a time of an emulated machine.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from osd_edge.device_tests import check_report
        >>> report = check_report(json.loads(Path("report.json").read_text()))
        >>> report["machine"]["kind"] = "toaster"
        >>> check_report(report)
        Traceback (most recent call last):
        ReportError: the report is malformed (expected one of native, …
    """
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        found = shown(repr(schema)) if isinstance(schema, str) else type(schema).__name__
        raise ReportError(
            Code.REPORT_SCHEMA,
            f"{source}: expected schema {SCHEMA!r}, found {found}: measure again",
        )
    report: Any = value
    try:
        check_bounds(report)
        check_rules(report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        words = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise ReportError(
            Code.REPORT_MALFORMED, f"{source} is malformed ({shown(words, 120)}): measure again"
        ) from error
    if report["machine"]["kind"] == "emulated":
        # Not its figures alone: a key that no reader knows may be a figure to people.
        _refuse_times({key: value for key, value in report.items() if key != "plan"}, source)
    return value  # type: ignore[return-value]


def _refuse_times(value: Any, source: str) -> None:
    for key, inner in value.items() if isinstance(value, dict) else ():
        if is_time(key.strip().lower()) and _has_number(inner):
            raise ReportError(
                Code.REPORT_LATENCY,
                f"{source}: {shown(key)} is a time of an emulated machine, which is not "
                "the time of any device: measure with --withhold-latency",
            )
    for inner in _inside(value):
        _refuse_times(inner, source)


def _has_number(value: Any) -> bool:
    return type(value) in (int, float) or any(map(_has_number, _inside(value)))


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
