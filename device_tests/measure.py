"""Measures this machine, scenario by scenario, and writes the report of it."""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osd_edge import __version__
from osd_edge.data.arguments import expect, expect_callable
from osd_edge.data.progress import Progress, silent
from osd_edge.device_tests.data import MODEL_FOLDER
from osd_edge.device_tests.gauges.samples import spread_of
from osd_edge.device_tests.gauges.sensors import SensorSnapshot, put_conditions, read_sensors
from osd_edge.device_tests.job.inputs import token_ids, writes_text
from osd_edge.device_tests.job.sheet import CLOCK, Job, Sheet
from osd_edge.device_tests.plan import BY_ID, SCENARIOS, Plan, ScenarioInfo, check_plan
from osd_edge.device_tests.report.schema import SCHEMA, Report, Scenario, withhold_times
from osd_edge.device_tests.report.verdict import verdict_of
from osd_edge.device_tests.scenarios.process import play_in_process
from osd_edge.errors import Code, OsdEdgeError, shown

Keep = Callable[[Report], None]


def keep_nothing(report: Report) -> None:
    """Takes a report and drops it, for callers who do not want the results so far."""


def measure(plan: Plan, *, progress: Progress = silent, keep: Keep = keep_nothing) -> Report:
    """Measures what `plan` says on this machine, conformance first, and returns the report.

    Args:
        plan: What to measure, how often and how long.
        progress: Wraps the steps for whoever shows them, as `progress(steps, label)`.
        keep: Gets the report at the beginning and again after each step, whole each time; what is
            not reached yet says so. It also gets what there is before an error is passed on.

    Returns:
        The report. A scenario that failed is in it with the reason, and so is the verdict.

    Raises:
        InputError: The plan is out of bounds, or names a scenario that there is not; `input.type`
            for what is no plan, or no function.
        BaseError: The base package cannot be opened.
        BundleError: A bundle cannot be read or does not fit the base.
        DeviceError: The process of a check could not be started, or ended before its answer.

    Example:
        >>> from osd_edge.device_tests import Plan, measure
        >>> report = measure(Plan(scenarios=("imports",)).quick())
        >>> report["verdict"]["status"], report["conformance"]["status"]
        ('passed', 'passed')
        >>> report["scenarios"][0]["figures"]["pss_bytes"]["n"]  # of two processes
        2
    """
    check_plan(expect(plan, Plan, "plan"))
    expect_callable(progress, "progress")
    expect_callable(keep, "keep")
    run = _Run(plan, keep)
    try:
        for step in progress(["checks", "conformance", *_chosen(plan)], "Measuring"):
            run.take(step)
    except OsdEdgeError as error:
        run.report["refused"] = {"code": error.code, "message": shown(str(error), 600)}
        run.hand_over(finished=False)
        raise
    except BaseException:
        run.hand_over(finished=False)
        raise
    run.hand_over(finished=True)
    return run.report


@dataclass
class _Run:
    """A measurement under way."""

    plan: Plan
    keep: Keep

    def __post_init__(self) -> None:
        plan = self.plan
        self.report = _empty_report(plan)
        self.began = _own_cpu_seconds()
        self.snapshots: list[SensorSnapshot] = [read_sensors()]
        self.job = _job(plan)
        self.hand_over(finished=False)

    def take(self, step: str) -> None:
        """Takes one step: `checks`, `conformance`, or a scenario."""
        if step == "checks":
            extra = self._extra("preflight")
            self._take_machine(extra["machine"])
            self.report["base"], self.report["tasks"] = extra["base"], extra["tasks"]
        elif step == "conformance":
            self.report["conformance"] = self._extra(step)
        else:
            (entry,) = (s for s in self.report["scenarios"] if s["id"] == step)
            _play(BY_ID[step], self.job, self.plan, entry)
        self.snapshots.append(read_sensors())
        self.hand_over(finished=False)

    def _extra(self, scenario: str) -> Any:
        """Plays a scenario that measures nothing and returns what it found out for the report."""
        return play_in_process(replace(self.job, scenario=scenario, started_ns=CLOCK()))["extra"]

    def hand_over(self, *, finished: bool) -> None:
        """Brings the report up to date and gives a copy of it to `keep`."""
        report = self.report
        sheet = Sheet()
        put_conditions(sheet, self.snapshots, _own_cpu_seconds() - self.began)
        report["conditions"] = {"figures": sheet.figures, "missing": sheet.missing}
        report["noise"] = _noise(report["scenarios"])
        if self.plan.why_no_times is not None:
            withhold_times(report, self.plan.why_no_times)
        report["verdict"] = verdict_of(report, finished=finished)
        self.keep(copy.deepcopy(report))

    def _take_machine(self, found: dict[str, Any]) -> None:
        names = ("python", "onnxruntime", "numpy")
        software = {name: found.pop(name) for name in names}
        self.report["tool"]["version"] = found.pop("osd_edge")
        self.report["machine"] |= found | {"software": software}


def _own_cpu_seconds() -> float:
    """Sums the processor time of this process and those that it started."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def _play(info: ScenarioInfo, job: Job, plan: Plan, entry: Scenario) -> None:
    """Plays one scenario as often as it wants and fills in its entry of the report."""
    if info.times_only and plan.why_no_times is not None:
        entry["status"] = "withheld"
        entry["reason"] = {"code": Code.DEVICE_WITHHELD, "message": plan.why_no_times}
        return
    repeats = plan.repeats if info.repeated else 1
    try:
        sheets = [
            play_in_process(replace(job, scenario=info.id, started_ns=CLOCK()))
            for _ in range(repeats)
        ]
    except OsdEdgeError as error:
        entry["status"], entry["reason"] = "failed", {"code": error.code, "message": str(error)}
        return
    entry["status"], entry["reason"] = "done", None
    for part in ("figures", "missing", "rows", "checks"):
        entry[part] = sheets[0][part]
    if info.repeated:
        entry["figures"] = _together([sheet["figures"] for sheet in sheets])


def _together(sheets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Makes spreads of the numbers of several processes; of a figure, those that have it."""
    together = {}
    for name in sheets[0]:
        known = [sheet[name] for sheet in sheets if sheet.get(name) is not None]
        together[name] = spread_of(known) if known else None
    return together


def _noise(scenarios: Sequence[Scenario]) -> Any:
    """Collects how far apart two measurements of one thing ended up."""
    sheet = Sheet()
    for scenario, name, figure in (
        ("base", "aa_ratio", "aa_ratio"),
        ("start", "start_pss_bytes", "pss_bytes"),
        ("start", "start_cold_start_ms", "cold_start_ms"),
    ):
        found = next((s["figures"].get(figure) for s in scenarios if s["id"] == scenario), None)
        sheet.put(name, found, f"not available here: scenario {scenario} gave no {figure}")
    return {"figures": sheet.figures, "missing": sheet.missing}


def _chosen(plan: Plan) -> tuple[str, ...]:
    """Lists the scenarios to run: all, but those of writing only where the base writes text."""
    if plan.scenarios or writes_text(_base(plan)):
        return plan.chosen()
    return tuple(name for name in plan.chosen() if not BY_ID[name].writing)


def _base(plan: Plan) -> Path:
    return MODEL_FOLDER if plan.base is None else Path(plan.base)


def _empty_report(plan: Plan) -> Report:
    kind = "native" if plan.emulated is None else "emulated"
    machine: dict[str, Any] = {"kind": kind}
    if plan.emulated is not None:
        machine["emulator"] = plan.emulated
    chosen = _chosen(plan)
    scenarios: list[Scenario] = [
        {
            "id": info.id,
            "title": info.title,
            "role": info.role,
            "status": "not_reached",
            "reason": {"code": Code.DEVICE_NOT_REACHED, "message": "the run did not come to this"},
            "figures": {},
            "missing": {},
            "rows": [],
            "checks": [],
        }
        for info in SCENARIOS
        if info.id in chosen
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": {"name": "osd-edge", "version": __version__},
        "verdict": {"status": "incomplete", "line": "INCOMPLETE: begun"},
        "refused": None,
        "machine": machine,
        "plan": plan.described(),
        "base": None,
        "tasks": [],
        "conformance": {"status": "not_run", "cases": 0, "failures": []},
        "scenarios": scenarios,
        "conditions": {"figures": {}, "missing": {}},
        "noise": {"figures": {}, "missing": {}},
        "notes": [],
    }


def _job(plan: Plan) -> Job:
    base = _base(plan)
    bundles = plan.bundles if plan.base is not None else sorted(MODEL_FOLDER.glob("*.safetensors"))
    ids = token_ids(base, plan.batch, plan.tokens)
    return Job(
        scenario="",
        base=str(base),
        bundles=tuple(map(str, bundles)),
        ids=tuple(map(tuple, ids)),
        threads=plan.threads,
        runs=plan.runs if plan.why_no_times is None else 1,
        seconds=plan.seconds if plan.why_no_times is None else 0.0,
        tasks=plan.tasks,
        soak_swaps=plan.soak_swaps,
        answer_tokens=plan.answer_tokens,
        pin=plan.pin,
        scratch=None if plan.scratch is None else str(plan.scratch),
        timed=plan.why_no_times is None,
        started_ns=CLOCK(),
    )
