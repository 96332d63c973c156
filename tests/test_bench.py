"""The device measurement: its arithmetic, its reading of memory, and a whole report.

No test depends on how long anything took.
"""

import json
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from osd_edge.base_manifest import MANIFEST, PLAIN_MODEL
from osd_edge.cli.bench import bench, describe
from osd_edge.device_tests import Report, measure
from osd_edge.device_tests import report as report_module
from osd_edge.device_tests.inputs import token_ids
from osd_edge.device_tests.memory import (
    NOT_AVAILABLE,
    MemoryScenario,
    MemoryUse,
    measure_memory,
    read_memory,
)
from osd_edge.device_tests.samples import latency_of, percentile, ratio_of, trimmed_mean
from osd_edge.errors import BaseError, BundleError, InputError, OsdEdgeError
from osd_edge.files import write_file

Quick = Callable[..., Report]
has_proc = pytest.mark.skipif(read_memory() is None, reason="needs /proc")


# Arithmetic


def test_percentiles_interpolate_and_take_any_order() -> None:
    assert percentile([3.0, 1.0, 2.0, 5.0, 4.0], 0.5) == 3
    assert percentile([1.0, 2.0], 0.5) == 1.5
    assert percentile([7.0], 0.99) == 7
    assert percentile([0.0, 10.0], 0.9) == pytest.approx(9)
    assert percentile([0.0, 10.0], 0.0) == 0
    assert percentile([0.0, 10.0], 1.0) == 10


def test_the_trimmed_mean_leaves_out_a_tenth_at_either_end() -> None:
    assert trimmed_mean([1000.0, *[2.0] * 8, -1000.0]) == 2
    assert trimmed_mean([1.0, 2.0, 6.0]) == 3  # too few to leave one out


def test_latency_figures_of_a_known_sample() -> None:
    latency = latency_of([float(ms) for ms in range(1, 102)])
    figures = (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms)
    assert figures == pytest.approx((51, 91, 96, 100))
    assert latency.trimmed_mean_ms == pytest.approx(51)
    assert latency.runs == 101


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is ten times slower in every second round; the ratio does not notice.
    reference = [1.0, 10.0] * 10
    ratio = ratio_of([2.0 * ms for ms in reference], reference)
    assert (ratio.median, ratio.p10, ratio.p90) == (2, 2, 2)


def test_the_spread_of_a_ratio_is_the_10th_to_90th_percentile() -> None:
    ratio = ratio_of([float(i) for i in range(11)], [1.0] * 11)
    assert (ratio.median, ratio.p10, ratio.p90) == pytest.approx((5, 1, 9))


# Token ids


def test_ids_come_from_the_tokenizer_and_are_the_same_every_time(tmp_path: Path) -> None:
    vocabulary = {"a": 11, "b": 13, "c": 17}
    tokenizer = {"model": {"type": "WordPiece", "vocab": vocabulary}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    ids = token_ids(tmp_path, 2, 50)
    assert [len(row) for row in ids] == [50, 50]
    assert {i for row in ids for i in row} == {11, 13, 17}
    assert ids == token_ids(tmp_path, 2, 50)


def test_ids_of_a_unigram_tokenizer_are_its_rows(tmp_path: Path) -> None:
    tokenizer = {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5]]}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    assert {i for row in token_ids(tmp_path, 1, 50) for i in row} == {0, 1}


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"model": {"vocab": {}}}'])
def test_without_a_readable_tokenizer_ids_are_small(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text, "utf-8")
    assert all(2 <= i < 10 for row in token_ids(tmp_path, 3, 20) for i in row)


# Memory


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "smaps_rollup").write_text(
        "55a6-7fff ---p 00000000 00:00 0      [rollup]\nRss:    40 kB\nPss:    30 kB\n"
        "Private_Clean:  5 kB\nPrivate_Dirty:    7 kB\nAnonymous:   6 kB\n",
        "utf-8",
    )
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    50 kB\nThreads:\t2\n", "utf-8")
    kib = 1024
    assert read_memory(tmp_path) == MemoryUse(40 * kib, 30 * kib, 12 * kib, 6 * kib, 50 * kib)


def test_a_kernel_without_smaps_rollup_tells_less(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 50 kB\nVmRSS:\t 40 kB\n", "utf-8")
    assert read_memory(tmp_path) == MemoryUse(40 * 1024, None, None, None, 50 * 1024)
    assert read_memory(tmp_path / "absent") is None


@has_proc
def test_memory_of_this_process_is_plausible() -> None:
    use = read_memory()
    assert use is not None and use.rss is not None and use.peak is not None
    assert 1 << 20 < use.rss <= use.peak
    for part in (use.pss, use.uss, use.anonymous):
        assert part is None or 0 < part <= use.rss


@has_proc
def test_what_a_second_process_refuses_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(BaseError) as refusal:
        measure_memory(tmp_path, [], [[2, 3]])
    assert refusal.value.code == "base.missing"


@has_proc
def test_a_process_that_was_killed_is_told_by_its_signal() -> None:
    from osd_edge.device_tests.memory import _why

    assert "out of memory" in _why(-signal.SIGKILL, "")
    assert "signal 11" in _why(-11, "")
    assert _why(1, "Traceback\nImportError: no module") == (
        "the process failed: ImportError: no module"
    )


@has_proc
def test_a_process_that_cannot_start_is_a_note_in_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    first, second = measure_memory(tmp_path, [], [[2, 3]])
    assert first.use is None and second.use is None
    assert first.note is not None and "no process" in first.note


# The whole


@pytest.fixture
def quick(
    tiny_base: Path, tiny_bundles: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> Quick:
    """`measure` of the tiny base: few runs, and no processes unless asked for."""

    def run(**options: Any) -> Report:
        if not options.pop("memory", False):
            monkeypatch.setattr(report_module, "measure_memory", lambda *_, **__: ())
        usual: dict[str, Any] = {"base": tiny_base, "bundles": tiny_bundles, "tokens": 8}
        return measure(runs=5, seconds=0.0, **(usual | options))

    return run


def test_a_report_says_everything(quick: Quick, tiny_bundles: tuple[Path, ...]) -> None:
    report = quick(memory=True, batch=2)
    plain, base, *tasks = report.latency.measured
    assert (plain.what, base.what) == ("plain", "base")
    assert [task.what for task in tasks] == ["task", "task"]
    assert report.latency.rounds == 5
    assert plain.to_plain is None and plain.to_base is not None
    assert base.to_base is None and base.to_plain is not None
    for task in tasks:
        assert task.to_plain is not None and task.to_base is not None
        assert task.to_base.p10 <= task.to_base.median <= task.to_base.p90
    for entry in report.latency.measured:
        latency = entry.latency
        assert latency.runs == 5
        assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p95_ms <= latency.p99_ms
    assert report.latency.plain_difference is not None
    assert report.latency.plain_difference < 1e-4

    assert [swap.task for swap in report.swaps] == [task.task for task in tasks]
    for swap, path in zip(report.swaps, tiny_bundles, strict=True):
        assert swap.file == path.name
        assert swap.file_bytes == path.stat().st_size
        assert swap.decoded_bytes > 0
        times = (swap.load_ms, swap.decode_ms, swap.cold_ms, swap.first_run_ms, swap.warm_ms)
        assert all(0 < ms < math.inf for ms in times)

    assert [scenario.name for scenario in report.memory] == [
        "import",
        "base",
        "one task",
        "2 tasks, one active",
    ]
    for scenario in report.memory:
        if read_memory() is None:
            assert scenario.note == NOT_AVAILABLE
        else:
            assert scenario.note is None and scenario.use is not None
            assert scenario.use.rss is not None and scenario.use.rss > 1 << 20

    assert report.machine.cpus is None or report.machine.cpus > 0
    assert (report.settings.tokens, report.settings.batch, report.settings.threads) == (8, 2, 1)
    text = describe(report)
    for word in ("plain graph", "no task", "cold", "anonymous", *(s.task for s in report.swaps)):
        assert word in text
    assert json.loads(json.dumps(report.as_dict()))["report"] == report_module.REPORT_VERSION


def test_two_bundles_of_one_task_name_stay_apart(
    quick: Quick, tiny_bundles: tuple[Path, ...]
) -> None:
    report = quick(bundles=(tiny_bundles[0], tiny_bundles[0]))
    first, second = (swap.task for swap in report.swaps)
    assert second == f"{first}-2"


def test_a_package_without_the_plain_graph_is_compared_with_no_task(
    quick: Quick, tiny_base: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for path in tiny_base.iterdir():
        if path.name != PLAIN_MODEL:
            (older / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((older / MANIFEST).read_text("utf-8"))
    manifest["files"].pop(PLAIN_MODEL, None)
    (older / MANIFEST).write_text(json.dumps(manifest), "utf-8")

    report = quick(base=older)
    base, *tasks = report.latency.measured
    assert base.what == "base"
    assert all(task.to_plain is None and task.to_base is not None for task in tasks)
    assert report.latency.plain_difference is None
    assert PLAIN_MODEL in report.notes[0] and report.notes[0] in describe(report)


def test_a_scenario_that_failed_is_told_below_the_table(quick: Quick) -> None:
    report = quick()
    killed = MemoryScenario("base", None, "the process was killed")
    text = describe(replace(report, memory=(killed,)))
    assert text.endswith("base: the process was killed")


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"batch": 0}, {"threads": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refusal:
        measure(Path("base"), [], **wrong)
    assert refusal.value.code == "input.number"


def test_a_missing_bundle_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as refusal:
        measure(tiny_base, [tmp_path / "absent"], tokens=8)
    assert refusal.value.code == "bundle.missing"


def test_more_tokens_than_the_base_takes_are_refused(
    tiny_base: Path, tiny_bundles: tuple[Path, ...]
) -> None:
    with pytest.raises(OsdEdgeError) as refusal:
        measure(tiny_base, tiny_bundles, tokens=100_000)
    assert refusal.value.code in ("input.max-length", "input.run")


# The command


@pytest.fixture
def command(quick: Quick, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's arguments; what it calls is a report made beforehand."""
    report = quick()
    monkeypatch.setattr("osd_edge.device_tests.measure", lambda *_, **__: report)
    return ["--base", str(tiny_base), "--bundle", "any"]


def test_the_command_prints_tables(command: list[str]) -> None:
    result = CliRunner().invoke(bench, command)
    assert result.exit_code == 0, result.output
    assert "plain graph" in result.output


def test_the_command_prints_json_for_a_dash(command: list[str]) -> None:
    result = CliRunner().invoke(bench, [*command, "--json", "-"])
    assert json.loads(result.stdout)["latency"]["rounds"] == 5


def test_the_command_writes_json_to_a_file(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_file(path, b"the report of yesterday")
    result = CliRunner().invoke(bench, [*command, "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert json.loads(path.read_text("utf-8"))["settings"]["tokens"] == 8
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tiny_base: Path, tmp_path: Path
) -> None:
    arguments = ["--base", "absent", "--bundle", "absent", "--json", str(tmp_path / "no" / "f")]
    result = CliRunner().invoke(bench, arguments)
    assert isinstance(result.exception, OsdEdgeError)
    assert result.exception.code == "output.unwritable"
