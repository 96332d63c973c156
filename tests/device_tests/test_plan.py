"""The fields of a plan are the one list of options: all that is made from it has every one."""

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest

from osd_edge.cli.bench import bench
from osd_edge.device_tests.__main__ import _parser
from osd_edge.device_tests.plan import OPTIONS, SCENARIOS, Option, Plan, check_plan, plan_of
from osd_edge.device_tests.plan.options import option, options_of
from osd_edge.device_tests.report.check import check_report
from osd_edge.errors import InputError, ReportError
from tests.support.reports import made_up

NUMBERS = [entry for entry in OPTIONS if entry.is_number]


def changed(entry: Option, value: float) -> Plan:
    change: Any = {entry.name: value}
    return replace(Plan(), **change)


def by_name(entry: Option) -> str:
    return entry.name


def test_every_field_is_an_option_of_both_command_lines() -> None:
    names = [entry.name for entry in fields(Plan)]
    assert [entry.name for entry in OPTIONS] == names
    assert set(names) <= set(vars(_parser().parse_args([])))
    bench_flags = {flag for parameter in bench.params for flag in parameter.opts}
    flags = {entry.flag for entry in OPTIONS if entry.role != "driver"}
    assert flags <= bench_flags and "--emulated" not in bench_flags


def test_saying_nothing_gives_the_defaults_on_both_command_lines() -> None:
    assert plan_of(vars(_parser().parse_args([]))) == Plan()
    context = bench.make_context("bench", [])
    assert (
        plan_of({o.name: context.params[o.name] for o in OPTIONS if o.role != "driver"}) == Plan()
    )


def test_a_plan_with_every_option_crosses_as_words() -> None:
    numbers: Any = {entry.name: entry.least + 3 for entry in NUMBERS}
    plan = Plan(
        base=Path("base"),
        bundles=(Path("a"), Path("b")),
        scenarios=("base", "swap"),
        pin=(0, 3),
        scratch=Path("scratch"),
        withhold_latency="a reason",
        emulated="an emulator",
        **numbers,
    )
    assert all(getattr(plan, entry.name) != entry.default for entry in OPTIONS)
    words = plan.arguments("base", ["a", "b"], "scratch")
    assert plan_of(vars(_parser().parse_args(words))) == plan


@pytest.mark.parametrize("entry", NUMBERS, ids=by_name)
def test_numbers_keep_their_bounds_in_a_plan(entry: Option) -> None:
    most = 10**9 if entry.most is None else entry.most
    for value in (entry.least, most):
        check_plan(changed(entry, value))
    beyond = () if entry.most is None else (entry.most + 1,)
    for value in (entry.least - 1, *beyond, math.nan):
        with pytest.raises(InputError, match=entry.name) as refused:
            check_plan(changed(entry, value))
        assert refused.value.code == "input.number"


def test_only_a_command_line_bounds_threads() -> None:
    """A caller of the library may ask for more than a person who mistypes."""
    (threads,) = (entry for entry in OPTIONS if entry.name == "threads")
    check_plan(changed(threads, 2000))
    with pytest.raises(click.BadParameter, match="0<=x<=1024"):
        bench.make_context("bench", ["--threads", "2000"])


def test_a_report_keeps_the_rules_of_its_schema_for_a_plan() -> None:
    named = [entry.name for entry in OPTIONS if entry.in_schema]
    # Another name here would refuse reports of the same schema that were right before.
    assert named == ["tokens", "batch", "threads", "runs", "seconds", "pin", "withhold_latency"]
    for name in named:
        report = made_up()
        report["plan"][name] = -1
        with pytest.raises(ReportError, match=name):
            check_report(report)


@pytest.mark.parametrize("name", ["repeats", "tasks", "soak_swaps", "scenarios"])
def test_a_report_may_say_anything_else_of_its_plan(name: str) -> None:
    for value in (-1, "many", None, [1.5]):
        report = made_up()
        report["plan"][name] = value
        check_report(report)


def test_an_option_is_added_by_a_field() -> None:
    @dataclass(frozen=True)
    class Longer(Plan):
        rest_ms: int = field(default=3, metadata=option("Rest.", "whole", least=0, most=9))

    added = options_of(Longer)[-1]
    assert (added.flag, added.default) == ("--rest-ms", 3) and added.words(4) == ["--rest-ms", "4"]
    with pytest.raises(InputError, match="rest_ms: expected 0 to 9, found 10"):
        added.check(10)


def test_every_scenario_has_a_module_of_its_name() -> None:
    folder = Path(__file__).parents[2] / "device_tests" / "scenarios"
    for scenario in SCENARIOS:
        source = (folder / f"{scenario.id.replace('-', '_')}.py").read_text("utf-8")
        assert "\ndef run(job: Job, sheet: Sheet) -> " in source
