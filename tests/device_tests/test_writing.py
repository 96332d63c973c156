"""Measuring a base that writes text: its own scenarios, and those of every base."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osd_edge.device_tests import Plan, Report, check_report, measure, tables_of, to_llama_bench
from osd_edge.device_tests.data import DECODER_FOLDER, MODEL_FOLDER
from osd_edge.device_tests.gauges.writing import TimedAnswer, put_writing, time_answers
from osd_edge.device_tests.job.sheet import Sheet
from osd_edge.device_tests.plan import BY_ID, SCENARIOS
from osd_edge.errors import ReportError
from osd_edge.runtime.generation.results import Piece

WRITING = tuple(scenario.id for scenario in SCENARIOS if scenario.writing)
# What compare-llama-bench.py of llama.cpp refuses a line without.
NEEDED = {
    *("cpu_info", "gpu_info", "backends", "n_gpu_layers", "tensor_buft_overrides"),
    *("model_filename", "model_type", "n_batch", "n_ubatch", "embeddings", "cpu_mask"),
    *("cpu_strict", "poll", "n_threads", "type_k", "type_v", "use_mmap", "no_kv_offload"),
    *("split_mode", "main_gpu", "tensor_split", "flash_attn", "n_prompt", "n_gen", "n_depth"),
    *("build_commit", "test_time", "avg_ts"),
}


def _plan(*scenarios: str, **changes: Any) -> Plan:
    plan = Plan(
        base=DECODER_FOLDER,
        bundles=sorted(DECODER_FOLDER.glob("*.safetensors")),
        tokens=8,
        scenarios=scenarios,
    )
    return replace(plan.quick(), **({"answer_tokens": 6, "tasks": 21} | changes))


@pytest.fixture(scope="module")
def report() -> Report:
    return measure(_plan(*WRITING))


def _scenario(report: Report, name: str) -> Any:
    (found,) = (scenario for scenario in report["scenarios"] if scenario["id"] == name)
    return found


def test_a_base_that_writes_is_measured_writing(report: Report) -> None:
    assert report["verdict"]["status"] == "passed"
    found = _scenario(report, "generate")
    assert {row["of"].get("task", row["of"].get("way")) for row in found["rows"]} == {
        "no task",
        "writes",
    }
    for part in (found, *found["rows"]):
        figures = part["figures"]
        assert figures["token_ms"]["n"] == 5 * 5  # of five answers, all but the first token
        assert {"p50", "p95", "p99"} <= set(figures["token_ms"])
        assert figures["first_token_ms"]["n"] == figures["token_cpu_ms"]["n"] == 5
        rate = figures["tokens_per_s"]["p50"]
        assert rate == pytest.approx(5e3 / figures["answer_ms"]["p50"], rel=1e-6)
    figures = found["figures"]
    assert figures["first_token_cold_ms"] > 0 and figures["peak_rss_bytes"] > 0
    assert figures["first_token_after_swap_ms"]["p50"] > figures["cold_ms"]["p50"] > 0
    assert found["rows"][1]["figures"]["token_to_base_ratio"]["n"] == 5


def test_a_batch_of_tasks_writes_what_each_writes_alone(report: Report) -> None:
    found = _scenario(report, "generate-batch")
    assert found["checks"][0]["passed"] and "8 of 8" in found["checks"][0]["message"]
    assert found["figures"]["rows_count"] == found["figures"]["tasks_count"] == 8
    assert found["figures"]["to_single_task_ratio"]["p50"] > 0


def test_memory_is_taken_as_tasks_are_loaded(report: Report) -> None:
    found = _scenario(report, "generate-tasks")
    assert [row["of"]["tasks"] for row in found["rows"]] == [0, 1, 20, 21]
    assert found["figures"]["fitting_count"] == 21
    assert all("first_token_ms" in row["figures"] for row in found["rows"][1:])


def test_writing_stands_in_tables(report: Report) -> None:
    tables = {table.title: table for table in tables_of(report)}
    rows = {row[0]: row for row in tables["Writing text"].rows}
    assert set(rows) == {"no task", "task writes", "8 rows of 8 tasks"}
    loaded = [row[0] for row in tables["Tasks that write, loaded"].rows]
    assert loaded == ["0", "1", "20", "21"]


def test_every_other_scenario_takes_a_base_that_writes() -> None:
    others = [scenario.id for scenario in SCENARIOS if not scenario.writing]
    found = measure(_plan(*others, repeats=1, soak_swaps=20, tasks=2))
    assert {s["id"]: s["status"] for s in found["scenarios"]} == dict.fromkeys(others, "done")
    assert found["verdict"]["status"] == "passed"


def test_a_base_that_writes_nothing_is_not_measured_writing() -> None:
    plan = replace(_plan(), base=MODEL_FOLDER, bundles=sorted(MODEL_FOLDER.glob("*.safetensors")))
    kept: list[Report] = []

    class _Enough(Exception):  # noqa: N818
        pass

    def first(report: Report) -> None:
        kept.append(report)
        raise _Enough

    with pytest.raises(_Enough):
        measure(plan, keep=first)
    ids = [scenario["id"] for scenario in kept[0]["scenarios"]]
    assert ids == [scenario.id for scenario in SCENARIOS if not scenario.writing]


def test_who_asks_for_writing_of_such_a_base_is_told_why_not() -> None:
    plan = replace(_plan("generate"), base=None, bundles=())
    (scenario,) = measure(plan)["scenarios"]
    assert scenario["status"] == "failed" and scenario["reason"] is not None
    assert scenario["reason"]["code"] == "base.generation"


def test_without_times_writing_still_tells_memory() -> None:
    found = measure(_plan(*WRITING, withhold_latency="a busy machine"))
    assert found["verdict"]["status"] == "passed"
    figures = _scenario(found, "generate")["figures"]
    assert figures["first_token_cold_ms"] is None and figures["pss_bytes"] > 0
    assert to_llama_bench(found) == ""


# Lines as llama-bench writes them


def test_the_lines_have_what_the_readers_of_llama_bench_want(report: Report) -> None:
    lines = [json.loads(line) for line in to_llama_bench(report).splitlines()]
    assert all(set(line) >= NEEDED for line in lines)
    tests = [(line["model_filename"], line["n_prompt"], line["n_gen"]) for line in lines]
    assert tests == [
        (name, *counts)
        for name in ("small-llama", "small-llama+writes")
        for counts in ((8, 0), (0, 5))
    ]
    for line in lines:
        tokens = line["n_prompt"] + line["n_gen"]
        assert line["samples_ts"] == [pytest.approx(1e9 * tokens / s) for s in line["samples_ns"]]
        assert line["avg_ns"] == pytest.approx(sum(line["samples_ns"]) / 5, abs=1)
        assert min(line["samples_ts"]) <= line["avg_ts"] <= max(line["samples_ts"])
    # They go into a table, as the readers keep them.
    names = sorted(set(lines[0]) - {"samples_ns", "samples_ts"})
    with sqlite3.connect(":memory:") as table:
        table.execute(f"CREATE TABLE llama_bench({', '.join(names)})")
        marks = ", ".join("?" * len(names))
        for line in lines:
            table.execute(
                f"INSERT INTO llama_bench VALUES({marks})", [line[name] for name in names]
            )
        (types,) = table.execute("SELECT COUNT(DISTINCT model_type) FROM llama_bench").fetchone()
    assert types == 2


@pytest.mark.parametrize("samples", [[], [1.0, -1.0], ["fast"], [1.0] * 100, 3])
def test_samples_that_cannot_be_are_refused(report: Report, samples: Any) -> None:
    changed = json.loads(json.dumps(report))
    _scenario(changed, "generate")["figures"]["first_token_ms"]["samples"] = samples
    with pytest.raises(ReportError) as refused:
        check_report(changed)
    assert refused.value.code == "report.malformed"


# Taking times


class _Session:
    """Gives pieces of two rows, of which the second ends early."""

    def generate(self, prompts: Any, *, tasks: Any, max_tokens: int, stream: bool) -> Any:
        assert stream and len(prompts) == len(tasks) == 2
        yield from (Piece(0, "a", (5,)), Piece(1, "", ()), Piece(1, "b", (6,)))
        yield from (Piece(0, "c", (7,)), Piece(1, "", (), "stop"))
        for token in range(max_tokens - 2):
            yield Piece(0, "", (token,))


def test_a_step_is_over_with_its_last_row() -> None:
    found = time_answers(_Session(), [[1], [2]], [None, None], 4)  # type: ignore[arg-type]
    assert found.tokens == [[5, 7, 0, 1], [6]]
    assert len(found.gaps_ms) == 3 and found.others_ms == sum(found.gaps_ms)


def test_an_answer_that_ends_at_once_has_no_times_of_tokens() -> None:
    sheet = Sheet()
    put_writing(sheet, [TimedAnswer(2.0, (), 1.0, 0.0, [[4]])], prompt=8, count=4)
    assert sheet.figures["prompt_tokens_per_s"]["p50"] == 4000  # type: ignore[index]
    assert sheet.figures["token_ms"] is None
    assert "first token" in sheet.missing["token_ms"]["reason"]


def test_scenarios_of_writing_say_so() -> None:
    assert WRITING == ("generate", "generate-batch", "generate-tasks")
    assert all(BY_ID[name].role == "osd-edge" for name in WRITING)
    assert Path(DECODER_FOLDER, "manifest.json").is_file()
