"""Reports: the rules of their schema, what they look like, and what changed between two."""

import copy
import csv
import io
import itertools
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.device_tests import tables_of, to_csv, to_html, to_markdown
from osd_edge.device_tests.render import svg
from osd_edge.device_tests.render.charts import charts_of
from osd_edge.device_tests.render.figures import digits
from osd_edge.device_tests.report.check import check_report, parse_report, read_report
from osd_edge.device_tests.report.compare import compare
from osd_edge.device_tests.report.schema import SCHEMA, is_time, withhold_times
from osd_edge.device_tests.report.verdict import verdict_of
from osd_edge.errors import Code, DataError
from tests.support.reports import made_up, part, scenario, spread

DOC = (Path(__file__).parents[2] / "docs" / "bench-schema.md").read_text("utf-8")


# The schema


def test_a_report_survives_json() -> None:
    report = made_up()
    assert parse_report(json.dumps(report)) == report


def _break(path: str, value: Any) -> dict[str, Any]:
    report: Any = made_up()
    *way, last = path.split(".")
    at = report
    for step in way:
        at = at[int(step) if step.isdecimal() else step]
    at[last] = value
    return dict(report)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("machine.kind", "imagined"),
        ("verdict.status", "fine"),
        ("scenarios.0.status", "begun"),
        ("scenarios.0.reason", {"code": "a", "message": "done and yet a reason"}),
        ("scenarios.0.status", "failed"),  # without a reason
        ("scenarios.0.figures", {"latency_ms": None}),  # without why
        ("scenarios.0.figures", {"latency_ms": "fast"}),
        ("scenarios.0.figures", {"latency_ms": float("nan")}),
        ("scenarios.0.figures", {"latency_ms": {"n": 3}}),
        ("scenarios.0.figures", {"latency_ms": True}),
        ("scenarios.1.rows.0.of", {"task": 1.5}),
        ("scenarios", "none"),
        ("conformance.cases", "many"),
        ("notes", [1]),
        ("created", None),
        ("created", "yesterday"),
        ("created", "2026-01-02T03:04:05"),  # where?
        ("plan.seconds", float("nan")),
        ("plan.seconds", float("inf")),
        ("plan.seconds", 10**400),
        ("plan.pin", 5),
        ("added", [[{"key": 1e18}]]),
        ("added", "\ud800"),
        ("refused", 5),
        ("refused", {"code": "\x1b[31m", "message": "red"}),
        ("machine.software", ["python"]),
        ("machine.memory_bytes", True),
        ("base.file_bytes", -1),
        ("tasks.0.decoded_bytes", "many"),
        ("conditions.missing", None),
        ("conditions.missing", {"load_start_count": 5}),
        ("conditions.figures", {"others_cpu_share": 5}),
        ("conditions.figures", {"A figure_ms": 5}),
        ("scenarios.0.id", "A B"),
        ("scenarios.0.id", "task"),  # which is there already
        ("scenarios.0.figures", {"latency_ms": -1}),
        ("scenarios.0.figures", {"latency_ms": 5e-324}),
        ("scenarios.0.figures", {"latency_ms": {"n": 0, "p50": 1}}),
        ("scenarios.0.figures", {"latency_ms": {"n": 2, "p50": 1, "p90": 0.5}}),
        ("scenarios.1.rows.0.of", {}),
        ("scenarios.2.rows.0.of", {"tasks": "two"}),
        ("scenarios.2.rows.0.of", {"tasks": 10**10}),
        ("conformance.cases", -1),
    ],
)
def test_a_report_that_breaks_a_rule_is_refused(path: str, value: Any) -> None:
    with pytest.raises(DataError) as refused:
        check_report(_break(path, value))
    assert refused.value.code == "report.malformed"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("refused", {"code": "bundle.base", "message": "another base"}),
        ("conformance.failures", [{"id": "a", "expected": "b", "found": "c"}]),
        ("conformance.status", "failed"),
        ("scenarios.5.checks", [{"id": "right", "passed": False, "message": "wrong answers"}]),
        ("scenarios", [scenario("a", {}, status="failed", reason={"code": "a", "message": "b"})]),
    ],
)
def test_a_verdict_that_the_report_denies_is_refused(path: str, value: Any) -> None:
    report = _break(path, value)
    with pytest.raises(DataError, match="the verdict is passed") as refused:
        check_report(report)
    assert refused.value.code == "report.malformed"
    check_report({**report, "verdict": {"status": "failed", "line": "FAILED: as it is"}})


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "9" * 400, "9" * 9000, "[" * 40])
def test_a_number_beyond_bounds_is_malformed(text: str) -> None:
    text += "]" * text.count("[")
    with pytest.raises(DataError) as refused:
        parse_report(json.dumps(made_up())[:-1] + f', "added": {text}}}')
    assert refused.value.code == "report.malformed"


@pytest.mark.parametrize("value", [None, [], {}, {"schema": "osd-edge-bench/99"}, {"schema": 1}])
def test_another_schema_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=re.escape(SCHEMA)) as refused:
        check_report(value)
    assert refused.value.code == "report.schema"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_nothing_but_a_refusal_comes_of_any_json(value: Any) -> None:
    report: Any = made_up()
    for key in list(report):
        broken = {**report, key: value}
        try:
            check_report(broken)
        except DataError as error:
            assert error.code.startswith("report.")


def test_files_that_are_no_reports_are_refused(tmp_path: Path) -> None:
    for data, code in ((b"{", "report.json"), (b"\xff", "report.json"), (b"[]", "report.schema")):
        path = tmp_path / "report.json"
        path.write_bytes(data)
        with pytest.raises(DataError) as refused:
            read_report(path)
        assert refused.value.code == code
    with pytest.raises(DataError) as refused:
        read_report(tmp_path / "absent")
    assert refused.value.code == "report.missing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(DataError) as refused:
            read_report(path)
        assert refused.value.code == "report.missing"


def test_an_emulated_machine_cannot_report_a_time() -> None:
    report = made_up()
    report["machine"]["kind"] = "emulated"
    with pytest.raises(DataError) as refused:
        check_report(report)
    assert refused.value.code == "report.latency"
    withhold_times(report, "this machine is emulated")
    check_report(report)
    rows = report["scenarios"][1]["rows"]
    assert rows[0]["figures"]["latency_ms"] is None
    assert rows[0]["missing"]["latency_ms"] == {
        "why": "withheld",
        "reason": "this machine is emulated",
    }
    assert report["scenarios"][2]["figures"]["pss_bytes"] == 108 * 2**20
    # Nor anywhere else, in whatever shape; what was asked for is no measurement.
    report["plan"]["limit_ms"] = 5
    check_report(report)
    for place in (report, report["tasks"][0]):
        forged: Any = copy.deepcopy(report)
        (forged if place is report else forged["tasks"][0])["run_ms"] = {"all": [5]}
        with pytest.raises(DataError) as refused:
            check_report(forged)
        assert refused.value.code == "report.latency"


def test_the_document_names_every_code_and_every_unit_of_time() -> None:
    source = (Path(__file__).parents[2] / "device_tests" / "report" / "check.py").read_text("utf-8")
    raised = {Code[name] for name in re.findall(r"\bCode\.(REPORT_[A-Z]+)", source)}
    assert raised == {code for code in Code if code.startswith("report.")}
    assert raised == set(re.findall(r"^\| `(report\.[a-z]+)` \|", DOC, re.MULTILINE))
    for unit, marked in re.findall(r"^\| `(_[a-z_]+)` \| .*\| (yes)? ?\|$", DOC, re.MULTILINE):
        assert is_time(f"a{unit}") == bool(marked), unit


# For people


def test_markdown_has_a_table_for_each_part_and_no_broken_row() -> None:
    text = to_markdown(made_up())
    assert text.startswith("# What tasks cost")
    assert "a \\| note" in text and "&lt;processor>" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block


def test_text_of_a_report_is_no_more_than_text() -> None:
    report = made_up()
    report["notes"].append("![a](http://b/c.png) \x1b[31m\x9b\u202e\x00 &lt;")
    report["scenarios"][1]["rows"][0]["of"] = {"=1+1": "x", "way": "\x1b"}
    markdown, table, html = to_markdown(report), to_csv(report), to_html(report)
    assert "!\\[a](http" in markdown and "&amp;lt;" in markdown
    assert ",'=1+1=x way=" in table
    for text in (markdown, table, html):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    shown = parse_report(json.dumps(report))["notes"][-1]
    assert shown == "![a](http://b/c.png) \ufffd[31m\ufffd\ufffd\ufffd &lt;"


def test_figures_that_are_not_there_say_why() -> None:
    report = made_up()
    withhold_times(report, "emulated")
    latency = next(t for t in tables_of(report) if t.title.startswith("Swaps"))
    assert latency.rows[0][3] == "withheld"
    failed = scenario("models", {}, status="failed")
    failed["reason"] = {"code": "output.disk-full", "message": "no room"}
    others = [entry for entry in report["scenarios"] if entry["id"] != "models"]
    report["scenarios"] = [*others, failed]  # type: ignore[list-item]
    report["verdict"] = verdict_of(report, finished=True)
    (absent,) = (t for t in tables_of(report) if t.title == "Without figures")
    assert absent.rows == (("the models", "failed", "no room [output.disk-full]"),)


def test_csv_has_a_line_for_each_figure() -> None:
    report = made_up()
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    counted = len(report["conditions"]["figures"]) + len(report["noise"]["figures"])
    for entry in report["scenarios"]:
        counted += len(entry["figures"]) + sum(len(row["figures"]) for row in entry["rows"])
    assert len(rows) == counted
    (line,) = (r for r in rows if r["of"] == "task=mr" and r["figure"] == "latency_ms")
    assert (line["scenario"], line["p50"], line["n"]) == ("task", "32", "50")


class _Page(HTMLParser):
    """Collects what is open, what was fetched and the text."""

    void = frozenset(("meta", "line", "circle", "path"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_escapes_what_it_is_given() -> None:
    report = made_up()
    report["base"]["name"] = "<script>alert(1)</script>"  # type: ignore[index]
    page = _Page()
    html = to_html(report)
    page.feed(html)
    assert page.open == [] and page.fetched == []
    assert "<script" not in html and "url(" not in html and "@import" not in html
    for words in ("Memory as tasks grow", "Latency of a run", "A change of task", "a <processor>"):
        assert words in page.text
    assert "prefers-color-scheme: dark" in html


def test_a_page_of_an_emulated_machine_has_memory_and_says_that_it_is_emulated() -> None:
    report = made_up()
    report["machine"] |= {"kind": "emulated", "emulator": "another processor"}
    report["plan"]["withhold_latency"] = "emulated"
    withhold_times(report, "emulated")
    html = to_html(check_report(report))
    titles = [title for title, _, _ in charts_of(report)]
    assert titles == ["Memory as tasks grow", "Swapping for long"]
    assert "This machine is emulated" in html and "EMULATED" in html


def test_a_page_of_a_run_that_was_broken_off_at_once_is_a_page() -> None:
    report = made_up()
    report["scenarios"], report["tasks"], report["base"] = [], [], None
    report["verdict"] = {"status": "incomplete", "line": "INCOMPLETE: begun"}
    report["conditions"] = report["noise"] = {"figures": {}, "missing": {}}
    page = _Page()
    page.feed(to_html(report))
    assert "INCOMPLETE" in page.text
    assert to_csv(report).count("\n") == 1


@given(st.floats(0.001, 1e12))
def test_ticks_are_few_and_reach_the_top(most: float) -> None:
    marks = svg.ticks(most)
    assert marks[0] == 0 and marks[-1] >= most * (1 - 1e-6)
    assert 2 <= len(marks) <= 7


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_do_not_cover_each_other(places: list[float]) -> None:
    moved = svg.space_labels(places, 20, 0, 300)
    ordered = sorted(moved)
    assert all(b - a >= 20 - 1e-6 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= -1e-6 and ordered[-1] <= 300 + 1e-6


def test_digits_are_three_and_never_an_exponent() -> None:
    found = [digits(value) for value in (0, 0.00096, 0.0123, 1.234, 12.345, 1234.5)]
    assert found == ["0", "0.00096", "0.0123", "1.23", "12.3", "1234"]


# Two reports


def test_a_report_has_not_changed_from_itself() -> None:
    comparison = compare(made_up(), made_up())
    assert comparison.changes == () and comparison.notes == ()
    assert comparison.compared > 30


def test_a_change_is_told_only_beyond_noise() -> None:
    old, new = made_up(), made_up()
    swap: Any = new["scenarios"][3]["figures"]
    swap["cold_ms"] = spread(4.15)  # 4 %: within the least that counts
    assert compare(old, new).changes == ()
    swap["cold_ms"] = spread(5)
    (change,) = compare(old, new).changes
    assert (change.where, change.figure, change.old, change.new) == ("swap", "cold_ms", 4, 5)
    assert not change.better
    assert compare(new, old).changes[0].better
    # The same change on a machine where the plain graph was ±30 % from itself says nothing.
    for report in (old, new):
        noisy = copy.deepcopy(report)
        noisy["noise"]["figures"]["aa_ratio"] = spread(1.0, 0.3)  # type: ignore[assignment]
        pair = (noisy, new) if report is old else (old, noisy)
        assert compare(*pair).changes == ()


def test_memory_sizes_and_throughput_have_rules_of_their_own() -> None:
    old, new = made_up(), made_up()
    tasks: Any = new["scenarios"][2]["figures"]
    tasks["pss_bytes"] += 2**20  # 1 MiB of 108: noise of a process
    assert compare(old, new).changes == ()
    tasks["pss_bytes"] += 4 * 2**20
    tasks["disk_bytes"] += 1
    for report, value in ((old, 10.0), (new, 20.0)):
        report["scenarios"][1]["figures"]["throughput_per_s"] = value
    found = {change.figure: change.better for change in compare(old, new).changes}
    assert found == {"pss_bytes": False, "disk_bytes": False, "throughput_per_s": True}


def test_another_machine_or_plan_is_told() -> None:
    old, new = made_up(), made_up()
    new["machine"]["processor"] = "another"
    new["plan"]["tokens"] = 32
    new["base"] = None
    notes = " ".join(compare(old, new).notes)
    assert "processor was" in notes and "tokens was 128, is 32" in notes and "base" in notes


def test_what_only_one_has_is_not_compared() -> None:
    old, new = made_up(), made_up()
    new["scenarios"].append(scenario("new", {"cold_ms": spread(9)}, [part({"x_ms": 1}, n=1)]))  # type: ignore[arg-type]
    assert compare(old, new).compared == compare(old, old).compared


def test_a_scenario_that_is_not_done_any_more_is_told() -> None:
    new: Any = made_up()
    new["scenarios"][0] |= {
        "status": "not_reached",
        "reason": {"code": "device.not-reached", "message": "broken off"},
    }
    name = new["scenarios"][0]["id"]
    assert f"scenario {name} was done, is not reached" in compare(made_up(), new).notes
