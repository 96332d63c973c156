"""Bundles of one task name: the refusal names both files, and `--bundle NAME=FILE` renames."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from osd_edge.errors import Code, InputError, TaskError
from osd_edge.formats.named_bundle import NamedBundle, named_bundle
from osd_edge.runtime import EdgeSession
from tests.support.command_line import run_cli
from tests.support.writers import Writer


@pytest.fixture
def twins(tiny_bundles: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Two files of the task `first`."""
    for name in ("one", "two"):
        shutil.copy(tiny_bundles[0], tmp_path / f"{name}.osd.safetensors")
    return tmp_path / "one.osd.safetensors", tmp_path / "two.osd.safetensors"


def test_a_file_alone_with_a_name_and_with_an_equals_sign_of_its_own(tmp_path: Path) -> None:
    assert named_bundle("mr.osd.safetensors") == NamedBundle(Path("mr.osd.safetensors"))
    assert named_bundle("b=x/mr.osd.safetensors") == NamedBundle(Path("x/mr.osd.safetensors"), "b")
    own = tmp_path / "b=mr.osd.safetensors"
    assert named_bundle(own) == NamedBundle(own)  # a folder is no task's name
    own.touch()
    assert named_bundle(own) == NamedBundle(own)
    assert named_bundle(f"c={own}") == NamedBundle(own, "c")
    assert named_bundle("a=") == NamedBundle(Path("a="))


def test_an_existing_file_of_the_whole_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mr").touch()
    assert named_bundle("b=mr") == NamedBundle(Path("mr"), "b")
    Path("b=mr").touch()
    assert named_bundle("b=mr") == NamedBundle(Path("b=mr"))


def test_a_name_that_is_none_before_a_file_that_is_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mr"
    file.touch()
    with pytest.raises(InputError, match="'my task'") as refused:
        named_bundle(f"my task={file}")
    assert refused.value.code == Code.INPUT_TASK_NAME


def test_run_names_both_files_and_takes_another_name(
    tiny_base: Path, twins: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = twins
    common = ("run", "--base", tiny_base, "--text", "a b", "--json", "--bundle", one)
    refused = run_cli(capsys, *common, "--bundle", two)
    assert refused.code == 1 and refused.err.endswith("[task.taken]\n")
    assert all(word in refused.err for word in (str(one), str(two), "--bundle NAME=FILE"))
    done = run_cli(capsys, *common, "--bundle", f"again={two}")
    first, again = json.loads(done.out)
    assert (first["task"], again["task"]) == ("first", "again")
    assert first["score"] == again["score"]


def test_serve_names_both_files_and_takes_another_name(
    tiny_base: Path, twins: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = twins
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html>", "utf-8")
    site = tmp_path / "site"
    common = ("serve", "--base", tiny_base, "--page", page, "--export", site, "--bundle", one)
    refused = run_cli(capsys, *common, "--bundle", two)
    assert refused.code == 1 and "[input.task-name]" in refused.err
    assert all(word in refused.err for word in (str(one), str(two), "--bundle NAME=FILE"))
    assert run_cli(capsys, *common, "--bundle", f"again={two}").code == 0
    tasks = json.loads((site / "catalogue.json").read_text("utf-8"))["tasks"]
    assert [task["task"] for task in tasks] == ["first", "again"]
    assert (site / tasks[1]["url"]).read_bytes() == two.read_bytes()


def test_evaluate_says_the_name_that_was_given(
    tiny_base: Path,
    twins: tuple[Path, Path],
    tiny_models: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tiny_models / "examples.tsv"
    common = ("evaluate", "--base", tiny_base, "--data", data, "--json")
    done = run_cli(capsys, *common, "--bundle", f"reviews={twins[0]}")
    assert json.loads(done.out)["task"] == "reviews"


def test_evaluate_takes_one_bundle(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for bundle in tiny_bundles for word in ("--bundle", bundle)]
    refused = run_cli(capsys, "evaluate", "--base", tiny_base, *given, "--data", "test.tsv")
    assert refused.code == 2 and "expected one, found 2" in refused.err


def test_chat_swaps_to_the_name_that_was_given(
    tiny_llama: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny_llama.bundles
    monkeypatch.setattr(sys, "stdin", io.StringIO("/task other\non\n"))
    done = run_cli(
        capsys,
        *("chat", "--base", tiny_llama.package, "--max-tokens", 8),
        *("--bundle", first, "--bundle", f"other={second}"),
    )
    session = EdgeSession(tiny_llama.package)
    answer = session.conversation(task=session.load(second)).say("on", max_tokens=8).text
    assert (done.code, done.out) == (0, f"{answer}\n")


def test_a_session_names_both_files(
    tiny_base: Path, twins: tuple[Path, Path], tiny_bundles: tuple[Path, Path]
) -> None:
    one, two = twins
    session = EdgeSession(tiny_base)
    session.load(one)
    with pytest.raises(TaskError) as refused:
        session.load(two)
    assert refused.value.code == Code.TASK_TAKEN
    assert all(str(word) in str(refused.value) for word in (one, two, "load(path, name)"))
    assert session.load(two, name="again") == "again"
    session.unload("first")
    assert session.load(tiny_bundles[0]) == "first"


def test_a_file_name_that_names_no_task_mentions_the_option(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = models / "out" / "my task.osd.safetensors"
    common = ("export", "task", "--base", models / "base", "--tuned", models / "first", "-o", out)
    refused = run_cli(capsys, *common)
    assert refused.code == 1 and refused.err.endswith("[input.task-name]\n")
    assert "'my task'" in refused.err and "--name" in refused.err
    given = run_cli(capsys, *common, "--name", "other task")
    assert "--name" not in given.err and "'other task'" in given.err
    done = run_cli(capsys, *common, "--name", "my-task", "--refine", "none", "--budget", "4KiB")
    assert done.code == 0 and out.exists()
