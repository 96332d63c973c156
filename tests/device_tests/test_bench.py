"""Measuring for real: scenarios in processes of their own, on small models.

No test depends on how long anything took.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from osd_edge.data.progress import silent
from osd_edge.device_tests import Plan, Report, check_report, measure, read_report
from osd_edge.device_tests.__main__ import main
from osd_edge.device_tests.devices import open_device
from osd_edge.device_tests.devices.payload import files_for, module_arguments
from osd_edge.device_tests.gauges.scratch import file_system
from osd_edge.device_tests.job.sheet import Job
from osd_edge.device_tests.plan import SCENARIOS, check_plan, processor_list, scenario_list
from osd_edge.device_tests.report.schema import Scenario
from osd_edge.device_tests.scenarios.play import play
from osd_edge.device_tests.scenarios.process import play_in_process
from osd_edge.errors import BundleError, Code, DeviceError, InputError, OsdEdgeError
from osd_edge.formats.package.manifest import MANIFEST, PLAIN_MODEL
from tests.support.command_line import run_cli
from tests.support.reports import made_up, scenario, spread
from tests.support.sshd import descendants

QUICK = Plan(runs=3, seconds=0.0, repeats=2, tasks=3, soak_swaps=60, tokens=8)
TODAY = ("lora-adapter", "session-per-task", "models", "rebuild")


@pytest.fixture
def plan(tiny_base: Path, tiny_bundles: tuple[Path, ...], tmp_path: Path) -> Plan:
    """A short measurement of the tiny base."""
    return replace(QUICK, base=tiny_base, bundles=tiny_bundles, scratch=tmp_path)


@pytest.fixture(scope="module")
def report(
    tiny_base: Path, tiny_bundles: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """Every scenario on the tiny base, once for all tests that only look at it."""
    scratch = tmp_path_factory.mktemp("scratch")
    found = measure(replace(QUICK, base=tiny_base, bundles=tiny_bundles, scratch=scratch))
    assert not list(scratch.iterdir()), "copies of models were left behind"
    return found


def by_id(report: Report) -> dict[str, Scenario]:
    return {scenario["id"]: scenario for scenario in report["scenarios"]}


def job(plan: Plan, scenario: str, **changes: Any) -> Job:
    """The job of one scenario, to play in this process."""
    from osd_edge.device_tests.measure import _job

    return replace(_job(plan), scenario=scenario, **changes)


# A whole measurement


def test_a_measurement_passes_and_keeps_the_rules(report: Report) -> None:
    check_report(report)
    assert report["verdict"]["status"] == "passed", report["verdict"]["line"]
    assert report["verdict"]["line"].startswith("PASSED: conformance")
    scenarios = by_id(report)
    # Those of writing are for a base that writes text.
    assert list(scenarios) == [info.id for info in SCENARIOS if not info.writing]
    assert {s["status"] for s in report["scenarios"]} == {"done"}
    assert {s["id"] for s in report["scenarios"] if s["role"] == "today"} == set(TODAY)
    assert report["machine"]["kind"] == "native"
    assert set(report["machine"]["software"]) == {"python", "onnxruntime", "numpy"}


def test_every_figure_of_a_measurement_is_documented(report: Report) -> None:
    text = (Path(__file__).parents[2] / "docs" / "bench-schema.md").read_text("utf-8")
    documented = set(re.findall(r"`([a-z0-9_]+)`", text.partition("### Names in use")[2]))
    parts: list[Any] = [report["conditions"], report["noise"], *report["scenarios"]]
    parts += [row for scenario in report["scenarios"] for row in scenario["rows"]]
    assert {name for part in parts for name in part["figures"]} - documented == set()


def test_conformance_comes_with_every_measurement(report: Report) -> None:
    assert report["conformance"]["status"] == "passed"
    assert report["conformance"]["cases"] > 250
    assert report["conformance"]["failures"] == []


def test_tasks_are_told_with_a_hash_of_what_they_decode_to(
    report: Report, tiny_bundles: tuple[Path, ...]
) -> None:
    assert [task["task"] for task in report["tasks"]] == ["first", "second"]
    for task, path in zip(report["tasks"], tiny_bundles, strict=True):
        assert task["file_bytes"] == path.stat().st_size
        assert task["decoded_bytes"] > 0
        assert len(task["decoded_sha256"]) == 64
    assert report["tasks"][0]["decoded_sha256"] != report["tasks"][1]["decoded_sha256"]


def test_latency_is_of_every_way_in_the_same_rounds(report: Report) -> None:
    rows = by_id(report)["task"]["rows"]
    assert [row["of"] for row in rows] == [
        {"way": "plain graph"},
        {"way": "no task"},
        {"task": "first"},
        {"task": "second"},
        {"way": "LoraAdapter", "task": "first"},
    ]
    for row in rows:
        latency: Any = row["figures"]["latency_ms"]
        assert latency["n"] == QUICK.runs
        keys = ("min", "p10", "p50", "p90", "p95", "p99")
        figures = [latency[key] for key in keys]
        assert figures == sorted(figures) and figures[0] > 0
    assert {"to_plain_ratio", "to_base_ratio"} <= set(rows[2]["figures"])
    noise: Any = report["noise"]["figures"]["aa_ratio"]
    assert noise["p10"] <= noise["p50"] <= noise["p90"]


def test_memory_is_of_a_process_of_its_own_each(report: Report) -> None:
    scenarios = by_id(report)
    for name in ("imports", "start", "base", "task", "tasks", "soak", *TODAY):
        figures: Any = scenarios[name]["figures"]
        rss = figures["rss_bytes"]
        rss = rss["p50"] if isinstance(rss, dict) else rss
        assert rss > 10 << 20, name
    starts: Any = scenarios["start"]["figures"]
    assert starts["cold_start_ms"]["n"] == starts["pss_bytes"]["n"] == QUICK.repeats
    # The one thing that grows without fail: a whole model more, its pages its own.
    models = [row["figures"]["rss_bytes"] for row in scenarios["models"]["rows"]]
    assert [row["of"]["tasks"] for row in scenarios["models"]["rows"]] == [0, 1, 2, 3]
    assert models[0] < models[-1]  # type: ignore[operator]


def test_disk_is_counted_for_all_tasks(report: Report, tiny_base: Path) -> None:
    scenarios = by_id(report)
    package = sum(path.stat().st_size for path in tiny_base.iterdir())
    model = sum((tiny_base / n).stat().st_size for n in (PLAIN_MODEL, "model.onnx.data"))
    sizes = [task["file_bytes"] for task in report["tasks"]]
    assert scenarios["tasks"]["figures"]["disk_bytes"] == package + sum(sizes) + sizes[0]
    assert scenarios["models"]["figures"]["disk_bytes"] == 3 * model


def test_what_it_proves_is_told(report: Report) -> None:
    checks = {c["id"]: c["passed"] for s in report["scenarios"] for c in s["checks"]}
    assert checks == dict.fromkeys(
        (
            *("same-as-plain", "back-to-base", "all-loaded", "whole-tasks"),
            *("same-as-rows", "same-as-usual", "no-growth", "same-as-fed"),
        ),
        True,
    )


# With times withheld


def test_withheld_times_are_in_no_figure(plan: Plan) -> None:
    chosen = ("start", "base", "task", "swap", "models")
    report = measure(replace(plan, scenarios=chosen, repeats=1, emulated="a slow machine"))
    check_report(report)  # which refuses a time of an emulated machine
    scenarios = by_id(report)
    assert report["verdict"]["status"] == "passed"
    assert report["machine"] == report["machine"] | {
        "kind": "emulated",
        "emulator": "a slow machine",
    }
    assert scenarios["swap"]["status"] == "withheld"
    assert scenarios["start"]["figures"]["session_ms"] is None
    assert scenarios["start"]["missing"]["session_ms"]["why"] == "withheld"
    assert scenarios["base"]["figures"]["rss_bytes"]
    assert scenarios["base"]["figures"]["plain_difference"] is not None


# What it keeps


def test_a_run_that_is_broken_off_keeps_what_it_has(plan: Plan) -> None:
    kept: list[Report] = []

    def keep(report: Report) -> None:
        kept.append(check_report(report))
        if by_id(report)["base"]["status"] == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(replace(plan, scenarios=("imports", "base", "models")), keep=keep)
    scenarios = by_id(kept[-1])
    assert [s["status"] for s in scenarios.values()] == ["done", "done", "not_reached"]
    assert scenarios["models"]["reason"]["code"] == "device.not-reached"  # type: ignore[index]
    assert kept[-1]["verdict"]["status"] == "incomplete"
    assert [k["verdict"]["status"] for k in kept] == ["incomplete"] * len(kept)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["osd_edge.device_tests", "osd_edge.cli.main"])
def test_ending_the_process_leaves_a_report_in_the_file(
    tmp_path: Path, module: str, asked: signal.Signals
) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", module, *(["bench"] if "cli" in module else [])]
    command += ["--json", str(path), "--scenarios", "imports,soak"]
    command += ["--repeats", "1", "--soak-swaps", "100000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            time.sleep(0.1)
            if path.exists() and by_id(read_report(path))["imports"]["status"] == "done":
                break
        children = descendants(process.pid)
        process.send_signal(asked)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == (128 + asked if "cli" in module else 1)
    assert children and not any(Path(f"/proc/{pid}").exists() for pid in children)
    if "cli" not in module:
        assert out.splitlines()[-1].startswith("INCOMPLETE: broken off")
    report = read_report(path)
    assert report["conformance"]["status"] == "passed"
    assert by_id(report)["soak"]["status"] == "not_reached"


def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", str(tmp_path / "absent" / "report.json")]) == 1
    assert "[output.unwritable]" in capsys.readouterr().err


def test_copies_of_models_go_however_a_run_ends(plan: Plan, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "osd_edge.device_tests", "--scenarios", "models"]
    command += ["--tasks", "4000", "--tokens", "8", "--scratch", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list(tmp_path.glob("*/*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 1 and list(tmp_path.iterdir()) == []


def test_nobody_listening_does_not_end_a_run(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", "osd_edge.device_tests", "--json", str(path)]
    command += ["--scenarios", "imports,start", "--repeats", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 0
    assert read_report(path)["verdict"]["status"] == "passed"


# What it refuses


def test_a_bundle_of_another_base_is_refused_and_the_report_says_so(
    plan: Plan, tmp_path: Path
) -> None:
    from osd_edge.device_tests.data import MODEL_FOLDER

    kept: list[Report] = []
    with pytest.raises(BundleError) as refused:
        measure(
            replace(plan, bundles=tuple(sorted(MODEL_FOLDER.glob("*.safetensors")))),
            keep=kept.append,
        )
    assert refused.value.code == "bundle.base"
    check_report(kept[-1])
    assert kept[-1]["refused"] == {"code": "bundle.base", "message": str(refused.value)}
    assert kept[-1]["verdict"]["status"] == "failed"
    assert kept[-1]["verdict"]["line"].endswith("[bundle.base]")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"base": Path("absent")}, "base.missing"),
        ({"bundles": (Path("absent"),)}, "bundle.missing"),
        ({"tokens": 60_000}, "input.max-length"),
        ({"tokens": 10**9}, "input.number"),
        ({"scratch": Path("absent")}, "input.scratch"),
        ({"tokens": 0}, "input.number"),
        ({"batch": 0}, "input.number"),
        ({"threads": -1}, "input.number"),
        ({"seconds": float("nan")}, "input.number"),
        ({"scenarios": ("base", "dance")}, "input.scenario"),
        ({"bundles": ()}, "input.options"),
        ({"base": None}, "input.options"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(
    plan: Plan, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(OsdEdgeError) as refused:
        measure(replace(plan, **changes))
    assert refused.value.code == code


def test_processors_and_scenarios_are_lists() -> None:
    assert processor_list("0,2-4,2") == (0, 2, 3, 4)
    assert scenario_list("base, swap,") == ("base", "swap")
    for text in ("", "a", "1-", "-1", "1,,2", "3-1", "0-5000", "9" * 5000):
        with pytest.raises(InputError) as refused:
            processor_list(text)
        assert refused.value.code == "input.pin"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_a_scenario_stays_on_its_processors(plan: Plan) -> None:
    processor = min(os.sched_getaffinity(0))
    extra = play_in_process(job(plan, "preflight", pin=(processor,)))["extra"]
    assert extra["machine"]["cpus_usable"] == 1
    with pytest.raises(InputError) as refused:
        play_in_process(job(plan, "preflight", pin=(100_000,)))
    assert refused.value.code == "input.pin"


def test_a_device_that_nobody_knows_is_refused() -> None:
    for name in ("toaster", "local:elsewhere", ""):
        with pytest.raises(InputError) as refused:
            open_device(name)
        assert refused.value.code == "input.device"


def test_the_plan_crosses_to_another_device_as_arguments(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[Plan] = []

    def measured(plan: Plan, **_: Any) -> Report:
        check_plan(plan)
        there.append(plan)
        return made_up()

    monkeypatch.setattr("osd_edge.device_tests.__main__.measure", measured)
    sent = replace(plan, pin=(0, 1), scenarios=("base", "swap"), emulated="a machine")
    assert main(sent.arguments(str(plan.base), [str(b) for b in plan.bundles], str(tmp_path))) == 0
    assert there == [sent]


# What goes wrong in a process


def test_the_end_of_a_process_is_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, ending in (
        ("device.killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        ("device.signal", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        ("device.memory", "raise MemoryError"),
        ("device.process", "raise ImportError('no numpy here')"),
        ("device.process", "print('no answer')"),
    ):
        script = Path(plan.scratch or ".") / "python"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{ending}"\n')
        script.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(script))
            with pytest.raises(DeviceError) as found:
                play_in_process(job(plan, "imports"))
        assert found.value.code == code
    monkeypatch.setattr(sys, "executable", str(plan.scratch))
    with pytest.raises(DeviceError, match="no process could be started"):
        play_in_process(job(plan, "imports"))


@pytest.mark.skipif(file_system(Path("/dev/shm")) != "tmpfs", reason="needs a tmpfs")
def test_a_way_of_today_without_room_fails_alone(plan: Plan) -> None:
    report = measure(
        replace(plan, scenarios=("imports", "models"), repeats=1, scratch=Path("/dev/shm"))
    )
    models = by_id(report)["models"]
    assert models["status"] == "failed"
    assert models["reason"] is not None and models["reason"]["code"] == "device.scratch"
    assert report["verdict"]["status"] == "passed"
    assert "1 without room or means here" in report["verdict"]["line"]


def test_models_stop_where_the_disk_or_the_memory_is_full(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter([2**40, 2**40, 2**40, 0])
    monkeypatch.setattr("osd_edge.device_tests.gauges.growth.available_bytes", lambda: next(room))
    sheet = play(job(plan, "models", tasks=20))
    assert sheet["figures"]["fitting_count"] == 3 and sheet["figures"]["wanted_count"] == 20
    assert [row["of"]["tasks"] for row in sheet["rows"]] == [0, 1, 2, 3]


def test_a_package_without_the_plain_graph_is_compared_with_no_task(
    plan: Plan, tiny_base: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for path in tiny_base.iterdir():
        if path.name != PLAIN_MODEL:
            (older / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((older / MANIFEST).read_text("utf-8"))
    manifest["files"].pop(PLAIN_MODEL)
    (older / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    old = replace(plan, base=older)
    base = play(job(old, "base"))
    assert base["figures"]["to_plain_ratio"] is None
    assert "plain.onnx" in base["missing"]["to_plain_ratio"]["reason"]
    rows = play(job(old, "task"))["rows"]
    assert rows[0]["of"] == {"way": "no task"}
    assert "to_base_ratio" in rows[1]["figures"] and "to_plain_ratio" not in rows[1]["figures"]
    for name in ("models", "rebuild"):
        code, _ = play(job(old, name))["refused"]
        assert code == Code.BASE_FILE


def test_two_bundles_of_one_task_name_stay_apart(plan: Plan) -> None:
    twice = job(replace(plan, bundles=(plan.bundles[0],) * 2), "preflight")
    assert [task["task"] for task in play(twice)["extra"]["tasks"]] == ["first", "first-2"]


def test_a_bundle_is_measured_by_the_name_that_it_was_given(plan: Plan) -> None:
    own, other = plan.bundles[0], Path(plan.bundles[1])
    named = replace(plan, bundles=(own, f"reviews={other}"))
    tasks = play(job(named, "preflight"))["extra"]["tasks"]
    assert [(task["task"], task["file"]) for task in tasks][1] == ("reviews", other.name)
    # And on another device, where the files have other paths.
    words = module_arguments(named, "/there", "/out")
    assert words[words.index("--bundle") + 3] == f"reviews=/there/bundles/1/{other.name}"
    assert (other, PurePosixPath("bundles", "1", other.name)) in files_for(named)


def test_memory_that_grows_with_swaps_is_found() -> None:
    from osd_edge.device_tests.scenarios.soak import LIMIT_BYTES, _growth

    steady = [100_000_000 + (i % 3) * 1000 for i in range(30)]
    growth = _growth(steady)
    assert growth is not None and growth <= LIMIT_BYTES
    leaking = _growth([100_000_000 + i * 200_000 for i in range(30)])
    assert leaking is not None and leaking > LIMIT_BYTES
    assert _growth([1, 2]) is None


# The command


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(made_up()))
    return path


def test_the_command_measures_and_writes_every_kind_of_file(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "csv", "markdown", "html")}
    result = run_cli(
        capsys,
        *("bench", "--base", plan.base, "--bundle", plan.bundles[0], "--quick", "--tokens", 8),
        *("--scenarios", "base,swap", "--scratch", tmp_path),
        *(word for kind, path in files.items() for word in (f"--{kind}", path)),
    )
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1].startswith("PASSED")
    report = read_report(files["json"])
    assert [s["status"] for s in report["scenarios"]] == ["done", "done"]
    assert files["html"].read_text("utf-8").startswith("<!doctype html>")
    assert files["markdown"].read_text("utf-8").startswith("# ")
    assert files["csv"].read_text("utf-8").startswith("scenario,")


def test_the_command_shows_a_report_that_is_there(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_cli(capsys, "bench", "--from", measured)
    assert result.code == 0
    for words in ("Ways to have many tasks", "1.070 (", "0.00100", "PASSED: everything"):
        assert words in result.out
    result = run_cli(capsys, "bench", "--from", measured, "--json", "-")
    assert json.loads(result.out) == made_up()


def test_options_that_would_do_nothing_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_cli(capsys, "bench", "--from", measured, "--tokens", 8, "--quick")
    assert result.code == 2 and "leave out --tokens, --quick" in result.err
    result = run_cli(capsys, "bench", "--device", "ssh:nobody@localhost", "--scratch", tmp_path)
    assert result.code == 2 and "--scratch" in result.err
    result = run_cli(capsys, "bench", "--from", measured, "--fail-on-change")
    assert result.code == 2 and "--compare" in result.err


def test_an_output_never_replaces_an_input_or_another_output(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = measured.read_bytes()
    (tmp_path / "link").symlink_to(measured)
    for option in ("--json", "--html"):
        result = run_cli(capsys, "bench", "--from", measured, option, tmp_path / "link")
        assert result.code == 1 and "[output.same]" in result.err
    page = tmp_path / "page"
    result = run_cli(capsys, "bench", "--from", measured, "--html", page, "--csv", page)
    assert result.code == 1 and "[output.same]" in result.err
    result = run_cli(capsys, "bench", "--base", tmp_path, "--bundle", measured, "--json", page)
    assert result.code == 1 and "[output.same]" in result.err
    result = run_cli(capsys, "bench", "--from", measured, "--html", "-")
    assert result.code == 2
    assert measured.read_bytes() == before and not page.exists()


def test_a_terminal_is_shown_no_control_codes(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile: Any = made_up()
    hostile["machine"]["processor"] = "\x1b]0;owned\x07\nPASSED"
    hostile["notes"].append("\x1b[2J")
    hostile["verdict"]["line"] = "\x1b[8mPASSED"
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(hostile))
    result = run_cli(capsys, "bench", "--from", path, "--compare", measured)
    assert "\x1b" not in result.out and "\x07" not in result.out
    assert "\nPASSED" not in result.out.replace(made_up()["verdict"]["line"], "")


def test_the_report_of_a_browser_is_shown_whole(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report: Any = made_up()
    machine = dict.fromkeys(("processor", "architecture", "system", "memory_bytes"))
    report["machine"] = machine | {"kind": "browser", "cpus": 8, "cpus_usable": 8, "software": {}}
    base = scenario("base", figures={"latency_ms": spread(12.5), "page_bytes": 200 << 20})
    report["scenarios"].insert(0, base)
    (task,) = (s for s in report["scenarios"] if s["id"] == "task")
    task["rows"] = [row for row in task["rows"] if "way" not in row["of"]]
    page = tmp_path / "page.json"
    page.write_text(json.dumps(report))
    result = run_cli(capsys, "bench", "--from", page, "--compare", page)
    assert "None" not in result.out and "no task" in result.out
    assert "memory of the page" in result.out and "200.0 MiB" in result.out


def test_the_command_tells_changes_and_fails_on_them_only_when_asked(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other: Any = made_up()
    other["scenarios"][3]["figures"]["cold_ms"] = spread(9)
    new = tmp_path / "new.json"
    new.write_text(json.dumps(other))
    result = run_cli(capsys, "bench", "--from", measured, "--compare", measured, "--fail-on-change")
    assert result.code == 0 and "0 of" in result.out
    result = run_cli(capsys, "bench", "--from", new, "--compare", measured)
    assert result.code == 0
    assert "swap: cold_ms" in result.out and "+125.0 %" in result.out and "WORSE" in result.out
    result = run_cli(capsys, "bench", "--from", new, "--compare", measured, "--fail-on-change")
    assert result.code == 1


def test_a_failed_verdict_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = made_up()
    report["verdict"] = {"status": "failed", "line": "FAILED: memory grew"}
    path = tmp_path / "failed.json"
    path.write_text(json.dumps(report))
    result = run_cli(capsys, "bench", "--from", path)
    assert result.code == 1 and result.out.splitlines()[-1] == "FAILED: memory grew"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--compare", "absent"), "report.missing"),
        (("--from", "absent"), "report.missing"),
        (("--device", "toaster"), "input.device"),
        (("--html", "absent/page.html"), "output.unwritable"),
        (("--pin", "x"), "input.pin"),
        (("--scenarios", "dance"), "input.scenario"),
        (("--scenarios", ","), "input.scenario"),
        (("--bundle", "without-a-base"), "input.options"),
    ],
)
def test_the_command_refuses_before_it_measures(
    arguments: tuple[str, ...], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_cli(capsys, "bench", *arguments)
    assert result.code == 1 and f"[{code}]" in result.err


def test_a_local_device_measures_as_measure_does(plan: Plan) -> None:
    short = replace(plan, scenarios=("imports",), repeats=1)
    report = open_device("local").run(short, silent, lambda _: None)
    assert report["verdict"]["status"] == "passed"
