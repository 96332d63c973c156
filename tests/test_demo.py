"""`osd-edge demo` on a user's own models: a short base, names that need care, few test rows."""

import json
import shutil
from pathlib import Path

import pytest

from tests import tiny
from tests.cli import run_cli

Capture = pytest.CaptureFixture[str]


def test_the_demo_on_own_models(tiny_models: Path, tmp_path: Path, capsys: Capture) -> None:
    calibration = tiny.write_tsv(tmp_path / "calibration.tsv", 24)
    test = tiny.write_tsv(tmp_path / "test.tsv", 2, seed=3)
    arguments: list[object] = ["--base", tiny_models / "base"]
    for folder in ("one/my model", "two/my model"):  # one name, and no name of a task
        shutil.copytree(tiny_models / "first", tmp_path / folder)
        arguments += ["--tuned", tmp_path / folder]
        arguments += ["--calibration", calibration, "--test", test]
    out = tmp_path / "out"
    done = run_cli(capsys, "demo", "-o", out, "--budget", "9 KiB", *arguments)
    assert done.code == 0, done.err
    assert "latency" in done.out and "right" in done.out
    results = json.loads((out / "results.json").read_text())
    assert [len(task["points"]) for task in results["tasks"]] == [4, 4]
    sizes = {point["size"] for task in results["tasks"] for point in task["points"]}
    assert all(8 * 1024 < size <= 9 * 1024 for size in sizes)
    assert len(list((out / "bundles").iterdir())) == 8
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_refuses_what_does_not_go_together(
    tiny_models: Path, tmp_path: Path, capsys: Capture
) -> None:
    done = run_cli(capsys, "demo", "-o", tmp_path / "out", "--base", tiny_models / "base")
    assert done.code == 1 and "[input.models]" in done.err
    (tmp_path / "file").write_text("")
    done = run_cli(capsys, "demo", "-o", tmp_path / "file" / "out")
    assert done.code == 1 and "[output.unwritable]" in done.err
