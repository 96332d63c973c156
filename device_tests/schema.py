"""The report of a measurement, schema `osd-edge-bench/1`: its types, and checks of one from afar.

`docs/bench-schema.md` specifies it. A report is plain JSON data, since it comes from devices,
emulated machines and browsers alike. Standard library only (see `memory`).
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, TypeGuard

from osd_edge.errors import DataError, shown

SCHEMA = "osd-edge-bench/1"
TIME_UNITS = ("_ms", "_per_s", "_ratio", "_joules")
KINDS = ("native", "emulated", "browser")
_MAX_REPORT_BYTES = 64 << 20
_SPREAD = frozenset(("n", "min", "p10", "p50", "p90", "p95", "p99", "trimmed_mean"))


class Spread(TypedDict):
    """What `n` samples were; `trimmed_mean` leaves out the lowest and the highest tenth."""

    n: int
    p50: float
    min: NotRequired[float]
    p10: NotRequired[float]
    p90: NotRequired[float]
    p95: NotRequired[float]
    p99: NotRequired[float]
    trimmed_mean: NotRequired[float]


Figure = float | Spread | None


class Missing(TypedDict):
    """Why a figure is null."""

    why: Literal["not_available", "withheld"]
    reason: str


class Figures(TypedDict):
    """Figures by name, whose end is the unit, and why those that are null are."""

    figures: dict[str, Figure]
    missing: dict[str, Missing]


class Row(Figures):
    """Figures of one part of a scenario: `of` says which, as `{"task": "mr"}`."""

    of: dict[str, str | int]


class Check(TypedDict):
    """What a scenario proves besides measuring."""

    id: str
    passed: bool
    message: str


class Reason(TypedDict):
    """Why a scenario has no figures: a stable code, and a message for people."""

    code: str
    message: str


class Scenario(Figures):
    """One scenario; `reason` is None where the status is done."""

    id: str
    title: str
    role: Literal["osd-edge", "today"]
    status: Literal["done", "failed", "withheld", "not_reached"]
    reason: Reason | None
    rows: list[Row]
    checks: list[Check]


class Failure(TypedDict):
    """A conformance case that did not come out as recorded."""

    id: str
    expected: str
    found: str


class Conformance(TypedDict):
    """Whether the device computes what it has to, bit for bit or within a tolerance."""

    status: Literal["passed", "failed", "not_run"]
    cases: int
    failures: list[Failure]


class Verdict(TypedDict):
    """The end of the report, in a word and in a line."""

    status: Literal["passed", "failed", "incomplete"]
    line: str


class Report(TypedDict):
    """A whole report."""

    schema: str
    created: str
    tool: dict[str, str]
    verdict: Verdict
    refused: Reason | None
    machine: dict[str, Any]
    plan: dict[str, Any]
    base: dict[str, Any] | None
    tasks: list[dict[str, Any]]
    conformance: Conformance
    scenarios: list[Scenario]
    conditions: Figures
    noise: Figures
    notes: list[str]


def is_time(name: str) -> bool:
    """Whether a figure of this name is a time, or made of times: untrue when emulated."""
    return name.endswith(TIME_UNITS)


def middle(figure: Figure) -> float | None:
    """The figure as one number: the median of a spread."""
    return figure["p50"] if isinstance(figure, dict) else figure


def withhold_times(report: Report, reason: str) -> None:
    """Replace every time in `report` by null and `reason`; done at every rewrite of a report."""
    for part in _parts(report):
        for name in part["figures"]:
            if is_time(name) and part["figures"][name] is not None:
                part["figures"][name] = None
                part["missing"][name] = {"why": "withheld", "reason": reason}


def read_report(path: Path) -> Report:
    """The report in the file `path`. Raises DataError `report.…`."""
    try:
        if path.stat().st_size > _MAX_REPORT_BYTES:
            raise DataError("report.json", f"{path} is not the report of a measurement: too long")
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(
            "report.missing", f"cannot read {path}: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise DataError("report.json", f"{path} is not UTF-8") from error
    return parse_report(text, str(path))


def parse_report(text: str, source: str = "the report") -> Report:
    """The report in `text`, checked; `source` names it in a refusal. Raises DataError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError("report.json", f"{source} is not JSON: expected a report") from error
    return check_report(value, source)


def check_report(value: object, source: str = "the report") -> Report:
    """Give `value` back where it is a report that keeps the rules. Raises DataError."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise DataError(
            "report.schema", f"{source}: expected schema {SCHEMA!r}, found {shown(repr(schema))}"
        )
    report: Any = value
    try:
        _check(report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "report.malformed", f"{source} is malformed ({shown(str(error))}): measure again"
        ) from error
    if report["machine"]["kind"] == "emulated":
        for part in _parts(report):
            for name, figure in part["figures"].items():
                if is_time(name) and figure is not None:
                    raise DataError(
                        "report.latency",
                        f"{source}: {shown(name)} is a time of an emulated machine, which is not "
                        "the time of any device: measure with --withhold-latency",
                    )
    return value  # type: ignore[return-value]


def _parts(report: Report) -> list[Figures]:
    parts: list[Figures] = [report["conditions"], report["noise"]]
    for scenario in report["scenarios"]:
        parts += [scenario, *scenario["rows"]]
    return parts


def _check(report: Any) -> None:
    _one_of(report["machine"]["kind"], KINDS)
    _one_of(report["verdict"]["status"], ("passed", "failed", "incomplete"))
    _one_of(report["conformance"]["status"], ("passed", "failed", "not_run"))
    _all(str, [report["created"], report["verdict"]["line"], report["tool"]["version"]])
    _all(str, report["notes"])
    _all(dict, [report["plan"], *([report["base"]] if report["base"] is not None else [])])
    _all(dict, [*report["tasks"], *report["scenarios"]])
    _all(int, [report["conformance"]["cases"]])
    for failure in report["conformance"]["failures"]:
        _all(str, [failure["id"], failure["expected"], failure["found"]])
    for task in report["tasks"]:
        _all(str, [task["task"]])
    for scenario in report["scenarios"]:
        _all(str, [scenario["id"], scenario["title"]])
        _one_of(scenario["role"], ("osd-edge", "today"))
        _one_of(scenario["status"], ("done", "failed", "withheld", "not_reached"))
        if (scenario["reason"] is None) != (scenario["status"] == "done"):
            raise ValueError(f"the reason of {scenario['id']}")
        if scenario["reason"] is not None:
            _all(str, [scenario["reason"]["code"], scenario["reason"]["message"]])
        for row in scenario["rows"]:
            if not all(isinstance(k, str) and type(v) in (str, int) for k, v in row["of"].items()):
                raise ValueError(f"a row of {scenario['id']}")
        for check in scenario["checks"]:
            _all(str, [check["id"], check["message"]])
            _all(bool, [check["passed"]])
    for part in _parts(report):
        for name, figure in part["figures"].items():
            if figure is None:
                _one_of(part["missing"][name]["why"], ("not_available", "withheld"))
                _all(str, [part["missing"][name]["reason"]])
            elif not _is_number(figure) and not _is_spread(figure):
                raise ValueError(f"figure {name}")


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_spread(value: object) -> bool:
    return (
        isinstance(value, dict)
        and {"n", "p50"} <= set(value)
        and type(value["n"]) is int
        and all(_is_number(value[key]) for key in _SPREAD & set(value))
    )


def _one_of(value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"expected one of {', '.join(allowed)}, found {str(value)[:40]!r}")


def _all(kind: type, values: list[Any]) -> None:
    for value in values:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, found {str(value)[:40]!r}")
