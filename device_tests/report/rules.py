"""Checks the rules of a report, part by part; a ValueError says what breaks one.

Keys that a rule does not name may be there: a writer may add to the schema. Standard library only.
"""

import re
from datetime import datetime
from itertools import pairwise
from typing import Any

from osd_edge.device_tests.plan import OPTIONS
from osd_edge.device_tests.report.schema import MACHINE_KINDS, MOST_SAMPLES, is_time, parts_of

_VERDICTS = ("passed", "failed", "incomplete")
_CONFORMANCE = ("passed", "failed", "not_run")
_STATES = ("done", "failed", "withheld", "not_reached")
_WHYS = ("not_available", "withheld")
_ORDERED = ("min", "p10", "p50", "p90", "p95", "p99")
_COUNTED = ("tasks", "swaps", "threads", "callers")
_ID = re.compile(r"[a-z0-9-]{1,64}")
CODE = re.compile(r"[a-z0-9.-]{1,64}")  # of a refusal
_NAME = re.compile(r"[a-z0-9_]{1,80}")
_MOST = 10**9  # tasks, swaps, processors
_ROUNDING = 1e-9  # of interpolated percentiles
_LEAST = 1e-60  # a figure below is none: dividing by it gives infinities


def check_rules(report: Any) -> None:
    """Raises ValueError, TypeError, KeyError or AttributeError where `report` breaks a rule."""
    _texts(report, "created")
    _need(datetime.fromisoformat(report["created"]).tzinfo is not None, "created without offset")
    _texts(report["tool"], "name", "version")
    _texts(report["verdict"], "line")
    _one_of(report["verdict"]["status"], _VERDICTS)
    for note in _list(report["notes"], "notes"):
        _need(isinstance(note, str), "a note that is no text")
    _check_reason(report["refused"], "refused")
    _check_machine(report["machine"])
    _check_plan(report["plan"])
    _check_bundles(report["base"], report["tasks"])
    _check_conformance(report["conformance"])
    for scenario in _list(report["scenarios"], "scenarios"):
        _check_scenario(scenario)
    ids = [scenario["id"] for scenario in report["scenarios"]]
    _need(len(ids) == len(set(ids)), "two scenarios of one id")
    for part in parts_of(report):
        _check_part(part)
    _check_verdict(report)


def _check_machine(machine: Any) -> None:
    _one_of(machine["kind"], MACHINE_KINDS)
    _texts_or_null(machine, "processor", "architecture", "system", "emulator")
    _sizes(machine, "memory_bytes", "cpus", "cpus_usable", null=True)
    for name, version in machine.get("software", {}).items():
        _need(isinstance(version, str), f"the version of {name}")


def _check_plan(plan: Any) -> None:
    for option in OPTIONS:
        if not option.in_schema:
            continue
        if option.is_number:
            _sizes(plan, option.name)
        elif option.kind == "text":
            _texts_or_null(plan, option.name)
        elif option.kind == "processors":
            for processor in _list(plan.get(option.name, []), option.name):
                _need(_is_count(processor), option.name)


def _check_bundles(base: Any, tasks: Any) -> None:
    if base is not None:
        _texts(base, "name", "family", "fingerprint")
        _sizes(base, "file_bytes", required=True)
    for task in _list(tasks, "tasks"):
        _texts(task, "task")
        _texts_or_null(task, "file", "decoded_sha256")
        _sizes(task, "file_bytes", "decoded_bytes")


def _check_conformance(conformance: Any) -> None:
    _one_of(conformance["status"], _CONFORMANCE)
    failures = _list(conformance["failures"], "failures")
    for failure in failures:
        _texts(failure, "id", "expected", "found")
    _need(_is_count(conformance["cases"]), "cases")
    _need(len(failures) <= conformance["cases"], "more failures than cases")


def _check_scenario(scenario: Any) -> None:
    _need(_ID.fullmatch(scenario["id"]) is not None, "the id of a scenario")
    _texts(scenario, "title")
    _one_of(scenario["role"], ("osd-edge", "today"))
    _one_of(scenario["status"], _STATES)
    done = scenario["status"] == "done"
    _need((scenario["reason"] is None) == done, f"the reason of {scenario['id']}")
    _check_reason(scenario["reason"], f"the reason of {scenario['id']}")
    for row in _list(scenario["rows"], "rows"):
        _need(bool(row["of"]), f"a row of {scenario['id']} that says not of what")
        for name, value in row["of"].items():
            right = _is_count(value) or (isinstance(value, str) and name not in _COUNTED)
            _need(right, f"a row of {scenario['id']}: {name}")
    for check in _list(scenario["checks"], "checks"):
        _need(_ID.fullmatch(check["id"]) is not None, f"the id of a check of {scenario['id']}")
        _texts(check, "message")
        _need(isinstance(check["passed"], bool), f"check {check['id']}")


def _check_part(part: Any) -> None:
    for name, missing in part["missing"].items():
        _need(_NAME.fullmatch(name) is not None, "the name of a missing figure")
        _one_of(missing["why"], _WHYS)
        _texts(missing, "reason")
    for name, figure in part["figures"].items():
        _need(_NAME.fullmatch(name) is not None, "the name of a figure")
        if figure is None:
            _need(name in part["missing"], f"figure {name} is null, and nothing says why")
        else:
            _need(_is_figure(name, figure), f"figure {name}")


def _is_figure(name: str, figure: Any) -> bool:
    if not isinstance(figure, dict):
        return _is_value(name, figure)
    ordered = [figure[key] for key in _ORDERED if key in figure]
    return (
        "p50" in figure
        and _is_count(figure["n"])
        and figure["n"] >= 1
        and all(_is_value(name, v) for v in (*ordered, figure.get("trimmed_mean", figure["p50"])))
        and all(a <= b + _ROUNDING * abs(b) for a, b in pairwise(ordered))
        and _are_samples(name, figure)
    )


def _are_samples(name: str, figure: Any) -> bool:
    samples = figure.get("samples")
    return samples is None or (
        0 < len(_list(samples, "samples")) <= min(figure["n"], MOST_SAMPLES)
        and all(_is_value(name, sample) for sample in samples)
    )


def _is_value(name: str, value: Any) -> bool:
    if not _is_number(value) or 0 < abs(value) < _LEAST:
        return False
    if name.endswith("_share"):
        return bool(0 <= value <= 1)
    return not is_time(name) or bool(value >= 0)


def _check_verdict(report: Any) -> None:
    """Refuses a verdict `passed` over a part that failed."""
    if report["verdict"]["status"] != "passed":
        return
    conformance = report["conformance"]
    right = report["refused"] is None
    right &= conformance["status"] != "failed" and not conformance["failures"]
    for scenario in report["scenarios"]:
        right &= scenario["role"] == "today" or scenario["status"] != "failed"
        right &= all(check["passed"] for check in scenario["checks"])
    _need(right, "the verdict is passed, and yet something in it failed")


def _check_reason(reason: Any, what: str) -> None:
    if reason is not None:
        _need(CODE.fullmatch(reason["code"]) is not None, f"{what}: its code")
        _texts(reason, "message")


def _need(right: bool, what: str) -> None:
    if not right:
        raise ValueError(what)


def _one_of(value: Any, allowed: tuple[str, ...]) -> None:
    _need(value in allowed, f"expected one of {', '.join(allowed)}, found {str(value)[:40]!r}")


def _list(value: Any, what: str) -> list[Any]:
    _need(isinstance(value, list), f"{what}: expected a list")
    return value  # type: ignore[no-any-return]


def _texts(holder: Any, *names: str) -> None:
    for name in names:
        _need(isinstance(holder[name], str), f"{name}: expected text")


def _texts_or_null(holder: Any, *names: str) -> None:
    for name in names:
        _need(isinstance(holder.get(name), str | None), f"{name}: expected text")


def _sizes(holder: Any, *names: str, null: bool = False, required: bool = False) -> None:
    for name in names:
        if name not in holder:
            _need(not required, f"{name} is not there")
        elif holder[name] is not None or not null:
            _need(_is_number(holder[name]) and holder[name] >= 0, f"{name}: expected 0 or more")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # finite: `check_bounds` has seen to it


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST
