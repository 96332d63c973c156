"""Calibration sets, options, budgets and places of an export: exit 1, a line with a stable code."""

from pathlib import Path

import pytest

from osd_edge.data.files import locked_output
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.kinds import KINDS
from tests.support.refused import assert_refused, export

Capture = pytest.CaptureFixture[str]

# Places


def test_a_base_that_another_run_is_exporting(models: Path, capsys: Capture) -> None:
    out = models / "out" / "base"
    with locked_output(out):  # as the first of them holds it
        result = run_cli(capsys, "export", "base", models / "base", "-o", out)
        assert_refused(result, "output.busy", "wait for it")
    assert list((models / "out").iterdir()) == []


# Calibration sets


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("x.tsv", None, "data.missing", ("x.tsv",)),
        ("x.tsv", b"", "data.empty", ()),
        ("x.tsv", b"label\ttext\n", "data.empty", ()),
        ("x.txt", b"\n\n", "data.empty", ()),
        ("x.tsv", b"text\tcolour\na\tred\n", "data.header", ("line 1", "colour")),
        ("x.tsv", b"label\ttext\nred\ta cat\nred a dog\n", "data.row", ("line 3",)),
        ("x.tsv", b"label\ttext\nred\ta\tb\n", "data.row", ("line 2",)),
        ("x.tsv", b"label\ttext\nred\t\n", "data.row", ("line 2",)),
        ("x.tsv", b"label\ttext\nred\ta\npurple\tb\n", "data.label", ("line 3", "purple", "red")),
        ("x.tsv", b"label\ttext\nred\tcaf\xe9\n", "data.encoding", ("line 2", "UTF-8")),
        ("x.tsv", b"label\ttext\nred\ta\rb\n", "data.row", ("line 2", "carriage")),
        ("x.txt", b"a\0b\n", "data.row", ("line 1", "null")),
        ("x.csv", b"label,text\n", "data.empty", ()),
        ("x.json", b"[]", "data.kind", (".tsv", "jq")),
        ("x.txt", b"a cat\n", "data.labels-needed", ("osd-rd",)),
    ],
)
def test_calibration_files(
    models: Path,
    capsys: Capture,
    name: str,
    content: bytes | None,
    code: str,
    words: tuple[str, ...],
) -> None:
    if content is not None:
        (models / name).write_bytes(content)
    calibration = ("--calibration", models / name)
    assert_refused(export(capsys, models, "--method", "osd", *calibration), code, *words)


def test_osd_without_calibration(models: Path, capsys: Capture) -> None:
    result = run_cli(
        capsys,
        *("export", "task", "--base", models / "base", "--tuned", models / "first"),
        *("--method", "osd", "-o", models / "out" / "task.osd.safetensors"),
    )
    assert_refused(result, "data.labels-needed", "osd-rd")


def test_osd_for_a_task_without_one_label(models: Path, tmp_path: Path, capsys: Capture) -> None:
    kind, settings = KINDS["token-labels"]
    tuned = tiny.make_tuned(models / "base", tmp_path / "tagger", task=kind, **settings)
    result = export(capsys, models, "--method", "osd", tuned=tuned)
    assert_refused(result, "model.head", "token-labels", "osd-rd")


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("truncsvd", "--extra-rank", 1),
        ("truncsvd", "--seed", 1),
        ("osd", "--jobs", 2),
        ("head", "--jobs", 2),
        ("head", "--sites", "*.attention.*"),
    ],
)
def test_options_that_mean_nothing_to_a_method(
    models: Path, capsys: Capture, method: str, option: str, value: object
) -> None:
    result = export(capsys, models, "--method", method, option, value)
    assert_refused(result, "input.options", method, option)


# Budgets


@pytest.mark.parametrize(
    "budget",
    ["r=0", "0", "much", "-3KiB", "r=one", "3 parsec", "9999999999GiB", "r=99999999999999999999"],
)
def test_malformed_budgets(models: Path, capsys: Capture, budget: str) -> None:
    assert_refused(export(capsys, models, "--budget", budget), "budget.malformed")


@pytest.mark.parametrize("method", ["truncsvd", "magtruncsvd", "osd"])
def test_a_budget_too_small_names_the_smallest(models: Path, capsys: Capture, method: str) -> None:
    """And the smallest it names works, while a byte less does not."""
    result = export(capsys, models, "--method", method, "--budget", "300")
    assert_refused(result, "budget.too-small", "smallest possible")
    smallest = int(result.err.rsplit("(", 1)[1].split(" bytes")[0])
    result = export(capsys, models, "--method", method, "--budget", str(smallest - 1))
    assert_refused(result, "budget.too-small")
    assert export(capsys, models, "--method", method, "--budget", str(smallest)).code == 0


def test_a_rank_budget_below_one_column(models: Path, capsys: Capture) -> None:
    result = export(capsys, models, "--method", "truncsvd", "--budget", "r=0.4")
    assert_refused(result, "budget.too-small", "r=1")
    result = export(capsys, models, "--method", "osd", "--budget", "r=0.001")
    assert_refused(result, "budget.too-small", "r=0.0")


# Places that cannot be written


def test_folders_that_cannot_be_written(models: Path, capsys: Capture) -> None:
    nowhere = models / "nowhere" / "task.osd.safetensors"
    assert_refused(export(capsys, models, "-o", nowhere), "output.unwritable")
    a_file = models / "examples.tsv" / "task.osd.safetensors"
    assert_refused(export(capsys, models, "-o", a_file), "output.unwritable")
    assert_refused(export(capsys, models, "-o", models / "out"), "output.unwritable", "folder")
    rows = (models / "examples.tsv").read_bytes()
    same = export(capsys, models, "-o", models / "examples.tsv", "--name", "t")
    assert_refused(same, "output.exists", "calibration set")
    assert (models / "examples.tsv").read_bytes() == rows
    base = run_cli(capsys, "export", "base", models / "base", "-o", models / "examples.tsv" / "b")
    assert_refused(base, "output.unwritable")


def test_an_existing_folder_is_not_overwritten(models: Path, capsys: Capture) -> None:
    precious = models / "out" / "precious.txt"
    precious.write_text("do not lose me")
    for more in ((), ("--overwrite",)):
        result = run_cli(capsys, "export", "base", models / "base", "-o", models / "out", *more)
        assert_refused(result, "output.exists")
    assert precious.read_text() == "do not lose me"


def test_wrong_usage_exits_with_2(capsys: Capture) -> None:
    assert run_cli(capsys, "export", "task").code == 2
    assert run_cli(capsys, "no-such-command").code == 2
    device = ("--base", "x", "--bundle", "y")
    assert run_cli(capsys, "run", *device, "--text", "a", "--threads", 10**11).code == 2
    assert run_cli(capsys, "bench", *device, "--threads", 10**11).code == 2
    assert run_cli(capsys, "bench", *device, "--seconds", "inf").code == 2
    assert run_cli(capsys, "export", "task", "--method", "magic").code == 2


def test_names_that_are_too_long_for_a_file(
    tiny_models: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    long = tmp_path / ("x" * 300)
    pair = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    rows = ("--calibration", tiny_models / "examples.tsv", "--test", tiny_models / "examples.tsv")
    for command in (
        ("export", "task", *pair, "--name", "t", "-o", long),
        ("export", "base", tiny_models / "base", "-o", long),
        ("compare", *pair, *rows, "--methods", "osd-rd-none", "--budgets", "4KiB", "-o", long),
        ("export", "adapter", tiny_bundles[0], "--base", tiny_base, "--to", "peft", "-o", long),
    ):
        done = run_cli(capsys, *command)
        assert done.code == 1 and "[output.unwritable]" in done.err, done.err
    assert not any(tmp_path.iterdir())
