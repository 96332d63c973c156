"""Types of the report of a measurement, schema `osd-edge-bench/1`.

`docs/bench-schema.md` specifies it, and `check` holds reports from anywhere to it. A report is
plain JSON data, since it comes from devices, emulated machines and browsers alike. Standard
library only, as everything in this room.
"""

from typing import Any, Literal, NotRequired, TypedDict

SCHEMA = "osd-edge-bench/1"
TIME_UNITS = ("_ms", "_per_s", "_ratio", "_joules")
MOST_SAMPLES = 1000  # that a spread carries
MACHINE_KINDS = ("native", "emulated", "browser")


class Spread(TypedDict):
    """A summary of `n` samples; `trimmed_mean` leaves out the lowest and the highest tenth.

    `samples` are the samples themselves, the first `MOST_SAMPLES`, where other programs' formats
    want them.
    """

    n: int
    p50: float
    min: NotRequired[float]
    p10: NotRequired[float]
    p90: NotRequired[float]
    p95: NotRequired[float]
    p99: NotRequired[float]
    trimmed_mean: NotRequired[float]
    samples: NotRequired[list[float]]


Figure = float | Spread | None


class Missing(TypedDict):
    """The reason why a figure is null."""

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
    """Something that a scenario proves besides measuring."""

    id: str
    passed: bool
    message: str


class Reason(TypedDict):
    """The reason why a scenario has no figures: a stable code, and a message for people."""

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
    """The result of conformance: whether the device computes what it has to."""

    status: Literal["passed", "failed", "not_run"]
    cases: int
    failures: list[Failure]


class Verdict(TypedDict):
    """The end of the report, in a word and in a line."""

    status: Literal["passed", "failed", "incomplete"]
    line: str


class Report(TypedDict):
    """A whole report: plain JSON data, specified in docs/bench-schema.md.

    Figures are named for their units: `_ms`, `_bytes`, `_per_s` and so on. `verdict` is the end in
    a word and a line, `machine` where it was measured, `plan` what was asked for, `scenarios` the
    figures, `conditions` the sensors, and `noise` how far two measurements of one thing were apart.

    Example:
        A file that `osd-edge bench --json report.json` wrote:

        >>> from pathlib import Path
        >>> from osd_edge.device_tests import Report, read_report
        >>> report: Report = read_report(Path("report.json"))
        >>> report["verdict"]["status"], report["machine"]["kind"]
        ('passed', 'native')
        >>> [scenario["id"] for scenario in report["scenarios"]][:2]
        ['start', 'task']
    """

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
    """Tells whether a figure of this name is a time or made of times: untrue when emulated."""
    return name.endswith(TIME_UNITS)


def middle(figure: Figure) -> float | None:
    """Returns the figure as one number: the median of a spread."""
    return figure["p50"] if isinstance(figure, dict) else figure


def withhold_times(report: Report, reason: str) -> None:
    """Replaces every time in `report` by null and `reason`, at every rewrite of a report."""
    for part in parts_of(report):
        for name in part["figures"]:
            if is_time(name) and part["figures"][name] is not None:
                part["figures"][name] = None
                part["missing"][name] = {"why": "withheld", "reason": reason}


def parts_of(report: Report) -> list[Figures]:
    """Lists every part of a report that has figures."""
    parts: list[Figures] = [report["conditions"], report["noise"]]
    for scenario in report["scenarios"]:
        parts += [scenario, *scenario["rows"]]
    return parts
