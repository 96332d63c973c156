"""`osd-edge demo` on a user's own models: a short base, names that need care, few test rows."""

import json
import shutil
from pathlib import Path

import pytest

from osd_edge.data.files import locked_output
from tests.support import tiny
from tests.support.command_line import run_cli

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.mark.slow(reason="exports eight bundles and measures them")
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
    assert "latency" in done.out
    answered = done.out.split("accuracy %")[0]  # by the default method, not by what is beside it
    assert answered.count("-osd-rd-") == 4, answered
    assert answered.count(" right\n") + answered.count(" wrong: ") == 4, answered
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
    rows = ("--calibration", tiny_models / "examples.tsv", "--test", tiny_models / "examples.tsv")
    done = run_cli(capsys, "demo", "-o", tmp_path / "out", *rows)
    assert done.code == 1 and "[input.models]" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["results.json", "accuracy.png", "bundles/mine", "data/mine"])
def test_an_earlier_demo_is_not_replaced_unasked(
    tiny_models: Path, tmp_path: Path, capsys: Capture, name: str
) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    rows = ("--calibration", tiny_models / "examples.tsv", "--test", tiny_models / "examples.tsv")
    done = run_cli(capsys, "demo", "-o", tmp_path / "out", *models, *rows)
    assert done.code == 1 and "[output.exists]" in done.err and "--overwrite" in done.err
    assert file.read_text() == "mine" and not (tmp_path / "out" / "base").exists()


def test_two_demos_do_not_begin_in_one_folder(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with locked_output(out / "demo"):  # as the first of them holds it
        done = run_cli(capsys, "demo", "-o", out)
    assert done.code == 1 and "[output.busy]" in done.err
    assert [path.name for path in out.rglob("*")] == ["bundles"]


@pytest.mark.slow(reason="exports four bundles and measures them")
def test_a_budget_that_is_too_small_is_a_dash_of_the_demo(
    tiny_models: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    rows = ("--calibration", tiny_models / "examples.tsv", "--test", tiny_models / "examples.tsv")
    done = run_cli(capsys, "demo", "-o", out, "--budget", "100", "--budget", "r=1", *models, *rows)
    assert done.code == 0, done.err
    assert "first: osd-rd at 100: a budget of 100 bytes is less than" in done.out
    (task,) = json.loads((out / "results.json").read_text())["tasks"]
    by_budget = {point["budget"]: point["size"] for point in task["points"]}
    assert by_budget["100"] is None and by_budget["r=1"] > 0
    assert len(list((out / "bundles").iterdir())) == 4
