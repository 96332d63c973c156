"""Reading a report from afar: a file's, a device's, a browser's. What breaks a rule is refused.

`docs/bench-schema.md` has the rules and the codes. Standard library only (see `memory`).
"""

import json
from pathlib import Path
from typing import Any

from osd_edge.data.bounded_read import read_bounded
from osd_edge.device_tests.report.json_bounds import bounded_int, check_bounds
from osd_edge.device_tests.report.printable import printable_lines
from osd_edge.device_tests.report.rules import check_rules
from osd_edge.device_tests.report.schema import SCHEMA, Report, is_time
from osd_edge.errors import Code, ReportError, shown

_MAX_REPORT_BYTES = 64 << 20


def read_report(path: Path) -> Report:
    """The report in the file `path`. Raises ReportError `report.…`."""
    name = shown(str(path))
    try:
        data = read_bounded(path, _MAX_REPORT_BYTES)
    except OSError as error:
        raise ReportError(
            Code.REPORT_MISSING, f"cannot read {name}: {error.strerror or error}"
        ) from error
    if data is None:
        raise ReportError(Code.REPORT_JSON, f"{name} is not the report of a measurement: too long")
    try:
        text = data.decode()
    except ValueError as error:
        raise ReportError(Code.REPORT_JSON, f"{name} is not UTF-8") from error
    return parse_report(text, name)


def parse_report(text: str, source: str = "the report") -> Report:
    """The report in `text`, checked, its words printable; `source` names it in a refusal.

    Raises ReportError.
    """
    try:
        value = json.loads(text, parse_int=bounded_int)
    except (ValueError, RecursionError) as error:
        raise ReportError(Code.REPORT_JSON, f"{source} is not JSON: expected a report") from error
    report: Report = printable_lines(check_report(value, source))
    return report


def check_report(value: object, source: str = "the report") -> Report:
    """Give `value` back where it is a report that keeps the rules. Raises ReportError."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        found = shown(repr(schema)) if isinstance(schema, str) else type(schema).__name__
        raise ReportError(
            Code.REPORT_SCHEMA, f"{source}: expected schema {SCHEMA!r}, found {found}"
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
