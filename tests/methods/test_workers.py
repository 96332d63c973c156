"""Threads and processes that share the work of exports: the bytes do not change."""

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from osd_edge.errors import ModelError
from osd_edge.exporters import export_task, export_tasks
from tests.support.command_line import run_cli
from tests.support.exports import export_bytes


@pytest.mark.parametrize(
    "how",
    [
        "threads",
        pytest.param("processes", marks=pytest.mark.slow(reason="its worker imports torch anew")),
    ],
)
def test_workers_do_not_change_the_bytes(tiny_models: Path, tmp_path: Path, how: str) -> None:
    calibration = tiny_models / "examples.tsv"
    expected = export_bytes(tiny_models, tmp_path, calibration=calibration)
    with _executor(how) as executor:
        found = export_bytes(tiny_models, tmp_path, calibration=calibration, executor=executor)
    assert found == expected


def test_tasks_run_side_by_side(tiny_models: Path, tmp_path: Path) -> None:
    outs = {
        tmp_path / f"{name}.osd.safetensors": tiny_models / name for name in ("first", "second")
    }
    options: dict[str, Any] = {"budget": "4KiB", "refine": "none"}
    with ThreadPoolExecutor(2) as executor:
        reports = export_tasks(tiny_models / "base", outs, executor, **options)
        assert [report.task for report in reports] == ["first", "second"]
        bad = {tmp_path / "bad.osd.safetensors": tiny_models / "base", **outs}
        with pytest.raises(ModelError):
            export_tasks(tiny_models / "base", bad, executor, **options)
    for path, report in zip(outs, reports, strict=True):
        assert path.stat().st_size == report.size
        alone = tmp_path / "alone.osd.safetensors"
        export_task(tiny_models / "base", outs[path], alone, name=report.task, **options)
        assert alone.read_bytes() == path.read_bytes()


def test_the_command_line_takes_jobs(
    tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for jobs in (1, 3):
        out = tmp_path / f"{jobs}.osd.safetensors"
        pair = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
        options = ("--budget", "4KiB", "--jobs", jobs, "--name", "t", "-o", out)
        assert run_cli(capsys, "export", "task", *pair, *options).code == 0
        found.append(out.read_bytes())
    assert found[0] == found[1]


@pytest.mark.slow(reason="its worker imports torch anew")
def test_a_refusal_comes_back_from_a_process(tiny_models: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.osd.safetensors"
    tasks = {tmp_path / "bad.osd.safetensors": tiny_models / "base", good: tiny_models / "first"}
    with _executor("processes") as executor, pytest.raises(ModelError) as refusal:
        export_tasks(tiny_models / "base", tasks, executor, budget="4KiB", refine="none")
    assert refusal.value.code == "model.head" and good.exists()


def _executor(how: str) -> Executor:
    if how == "threads":
        return ThreadPoolExecutor(3)
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
