"""`osd-edge compare`: its files, its resuming, and what it refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification

from osd_edge.cli.compare import describe
from osd_edge.data.examples import Example, read_examples
from osd_edge.errors import OsdEdgeError
from osd_edge.exporters.compare.comparison import MethodComparison, Outcome, compare, grid
from osd_edge.exporters.compare.kept_results import KeptResults
from osd_edge.exporters.compare.peers.bundles import restore_bundle
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.text_set import TextSet
from osd_edge.exporters.scoring.weight_sets import Dense
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import run_cli

Capture = pytest.CaptureFixture[str]
METHODS = "truncsvd-int8,lora,axis-sign"


def arguments(models: Path, out: Path, *more: object) -> list[object]:
    return [
        *("compare", "--base", models / "base", "--tuned", models / "first"),
        *("--calibration", models / "examples.tsv", "--test", models / "examples.tsv"),
        *("-o", out, *more),
    ]


@pytest.mark.parametrize(
    "error",
    [
        np.linalg.LinAlgError("SVD did not converge"),
        vars(torch.linalg)["LinAlgError"]("the algorithm failed to converge"),
        OverflowError("cannot convert float infinity to integer"),
    ],
)
def test_a_method_whose_arithmetic_fails_says_so_in_its_row_and_the_others_go_on(
    error: Exception,
    tiny_models: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    chosen = ("--methods", "lora,axis-sign", "--budgets", "20KiB", "--probe", "0.25")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("osd_edge.exporters.compare.peers.axis_sign.AxisSign.compress", fail)
        done = run_cli(capsys, *arguments(tiny_models, out, *chosen))
    assert done.code == 0, done.err
    assert f"axis-sign at its own: its arithmetic failed ({type(error).__name__}: " in done.out
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [(row["method"], bool(row["bytes"])) for row in rows] == [
        ("lora", True),
        ("axis-sign", False),
    ]
    again = run_cli(capsys, *arguments(tiny_models, out, *chosen, "--json"))
    points = json.loads(again.out)["points"]  # tried again, and this time it did not fail
    assert [point["refused"] for point in points] == [None, None]


def test_the_files_of_a_comparison(tiny_models: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    chosen = ("--methods", METHODS, "--budgets", "2KiB, 20KiB,r=1", "--probe", "0.25")
    done = run_cli(capsys, *arguments(tiny_models, out, *chosen))
    assert done.code == 0, done.err
    assert "full fine-tuning" in done.out and "gain kept %" in done.out
    assert "lora at 2KiB: the smallest file takes" in done.out
    assert "24 calibration rows are in the test set too" in done.out
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [(row["method"], row["budget"]) for row in rows] == [
        *(("truncsvd-int8", budget) for budget in ("2KiB", "20KiB", "r=1")),
        *(("lora", budget) for budget in ("2KiB", "20KiB", "r=1")),
        ("axis-sign", ""),
    ]
    document = json.loads((out / "comparison.json").read_text())
    assert document["frozen_probe"] == 0.25
    for row, point in zip(rows, document["points"], strict=True):
        sizes = [(out / file).stat().st_size for file in point["files"]]
        assert sum(sizes) == int(row["bytes"] or 0)
        assert bool(point["refused"]) == (point["accuracy"] is None) == (not sizes)
    again = run_cli(capsys, *arguments(tiny_models, out, *chosen, "--json"))
    assert json.loads(again.out) == document


@pytest.fixture
def job(tiny_models: Path) -> MethodComparison:
    examples = read_examples(tiny_models / "examples.tsv")
    return MethodComparison(
        tiny_models / "base",
        tiny_models / "first",
        examples,
        examples[:6],
        grid(("truncsvd-int4", "lora", "zstd"), ("20KiB", "r=2")),
        probe=0.2,
    )


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


def test_an_interrupted_comparison_goes_on(job: MethodComparison, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    seen = []

    def stop_at_the_third(items, label, total=None):  # type: ignore[no-untyped-def]
        for i, item in enumerate(items):
            if label == "Methods and budgets":
                seen.append(item)
                if i == 2:
                    raise StopError
            yield item

    with pytest.raises(StopError):
        compare(job, tmp_path, stop_at_the_third)
    before = stamps(tmp_path)
    assert len(before) == 1 + 2  # the bounds and two points
    compare(job, tmp_path)
    after = stamps(tmp_path)
    assert len(after) == 1 + 5
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "measured file gone"])
def test_only_a_damaged_result_is_computed_again(
    job: MethodComparison, tmp_path: Path, damage: str
) -> None:
    expected = compare(job, tmp_path)
    (result,) = (tmp_path / "cells").glob("lora-r2-*.json")
    text = result.read_text()
    if damage == "gone":
        result.unlink()
    elif damage == "cut":
        result.write_text(text[: len(text) // 2])
    elif damage == "changed":
        result.write_text(text.replace('"rank": 4', '"rank": 5'))
        assert result.read_text() != text
    else:
        (tmp_path / "files" / result.stem / "adapter_config.json").unlink()
    before = stamps(tmp_path)
    outcome = compare(job, tmp_path)
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {result.name}
    assert without_times(outcome) == without_times(expected)


def without_times(outcome: Outcome) -> Outcome:
    return replace(outcome, points=tuple(replace(p, seconds=0) for p in outcome.points))


def test_other_inputs_are_other_results(job: MethodComparison, tmp_path: Path) -> None:
    one = replace(job, settings=(("lora", "r=2"),))
    compare(one, tmp_path)
    count = len(stamps(tmp_path))
    compare(replace(one, seed=1), tmp_path)
    assert len(stamps(tmp_path)) == count + 1
    compare(replace(one, calibration=job.calibration[:-1]), tmp_path)
    assert len(stamps(tmp_path)) == count + 2


def test_the_probe_and_why_there_is_none(job: MethodComparison, tmp_path: Path) -> None:
    none = replace(job, settings=(), probe=None)
    outcome = compare(none, tmp_path)
    assert outcome.frozen_probe is not None and 0 <= outcome.frozen_probe <= 1
    few = compare(replace(none, probe_train=job.calibration[:2]), tmp_path)
    assert few.frozen_probe is None and "[data.probe]" in (few.no_probe or "")
    bare = tuple(replace(e, label=None) for e in job.calibration)
    unlabelled = compare(replace(none, calibration=bare), tmp_path)
    assert unlabelled.no_probe == "the calibration set has no labels"
    assert unlabelled.gain(0.9) is None


def test_a_method_that_needs_labels_is_a_dash(job: MethodComparison, tmp_path: Path) -> None:
    bare = tuple(replace(e, label=None) for e in job.calibration)
    outcome = compare(replace(job, calibration=bare, settings=(("osd", "r=1"),)), tmp_path)
    assert "[data.labels-needed]" in (outcome.points[0].refused or "")


def test_shares_of_the_gain() -> None:
    outcome = Outcome(
        task="colours",
        seed=0,
        labels=2,
        test_examples=9,
        calibration_examples=9,
        shared_rows=0,
        fp32_bytes=9,
        fine_tuned=0.9,
        linear_only=0.9,
        zero_delta=0.1,
        frozen_probe=0.5,
        no_probe=None,
        points=(),
    )
    assert outcome.gain(0.7) == pytest.approx(0.5)
    assert outcome.gain(None) is None
    assert replace(outcome, frozen_probe=0.89).gain(0.895) is None
    assert " 100.0 " in describe(outcome)
    never_right = describe(replace(outcome, fine_tuned=0.0))  # there is nothing to share out
    assert all("–" in line for line in never_right.splitlines() if "head, zero delta" in line)


def test_the_device_gives_the_logits_that_were_scored(
    tiny_models: Path, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    examples = read_examples(tiny_models / "examples.tsv")
    pair = open_fine_tuned(tiny_models / "base", tiny_models / "first")
    model = TaskModel(pair.backbone, pair.tuned)
    restored = restore_bundle(tiny_bundles[0].read_bytes(), pair.backbone)
    with model.at(Dense(restored.deltas, restored.head)) as module:
        expected = TextSet(pair, examples).logits(module).numpy()
    session = EdgeSession(tiny_base)
    task = session.load(tiny_bundles[0])
    output = session.run(session.encode([e.text for e in examples]), task=task)
    assert output.logits is not None
    assert abs(output.logits - expected).max() < 1e-4


def test_a_head_alone_scores_as_it_does_on_the_device(
    job: MethodComparison, tiny_base: Path, tmp_path: Path
) -> None:
    """It may read other states than the fine-tuned model's own head, which has its place."""
    (point,) = compare(replace(job, settings=grid(("head",), ("2KiB",))), tmp_path).points
    session = EdgeSession(tiny_base)
    task = session.load(tmp_path / point.files[0])
    answers = session.classify([e.text for e in job.test], task=task)
    right = [a.label == e.label for a, e in zip(answers, job.test, strict=True)]
    assert point.budget is None and point.accuracy == sum(right) / len(right)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("--methods", "lora,lorra"), "input.method"),
        (("--budgets", "8KiB,,r=1"), "budget.malformed"),
        (("--budgets", "8 parsecs"), "budget.malformed"),
        (("--test", "nowhere.tsv"), "data.missing"),
        (("--test", "UNLABELLED"), "data.unlabelled"),
        (("--test", "OTHER"), "data.label"),
        (("-o", "FILE"), "output.unwritable"),
    ],
)
def test_refusals_in_one_line(
    tiny_models: Path, tmp_path: Path, capsys: Capture, wrong: tuple[str, str], code: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "texts.txt").write_text("the cat\n")
    tiny.write_tsv(tmp_path / "other.tsv", labels=("up", "down"))
    places = {"UNLABELLED": "texts.txt", "OTHER": "other.tsv", "FILE": "file/out"}
    value = tmp_path / places[wrong[1]] if wrong[1] in places else wrong[1]
    done = run_cli(
        capsys, *arguments(tiny_models, tmp_path / "out", "--probe", "0.5", wrong[0], value)
    )
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("osd-edge: ") and f"[{code}]" in done.err
    assert not (tmp_path / "out").exists()


def test_kinds_that_are_not_compared(tmp_path: Path, capsys: Capture) -> None:
    base = tiny.make_base("bert", tmp_path / "base")
    tiny.make_tuned(base, tmp_path / "first", task=AutoModelForTokenClassification)
    tiny.write_tsv(tmp_path / "examples.tsv")
    done = run_cli(capsys, *arguments(tmp_path, tmp_path / "out"))
    assert done.code == 1 and "[model.head]" in done.err
    assert "tasks that generate text are compared, not token-labels" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seed", "-1"), ("--seed", 2**63), ("--probe", "nan"), ("--probe", "inf")],
)
def test_numbers_out_of_range_are_wrong_usage(
    tiny_models: Path, tmp_path: Path, capsys: Capture, option: str, value: object
) -> None:
    done = run_cli(capsys, *arguments(tiny_models, tmp_path / "out", option, value))
    assert done.code == 2 and option in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"probe_train": (Example("the cat"),)}, "data.unlabelled"),
        ({"probe_train": (Example("the cat", "mauve"),)}, "data.label"),
        ({"probe_train": (Example("the cat", "red", "a dog"),)}, "data.pairs"),
        ({"calibration": (Example("the cat", None, "a dog"),)}, "data.pairs"),
        ({"calibration": (Example("cat"), Example("cat", None, "dog"))}, "data.pairs"),
        ({"probe": 0.2, "probe_train": (Example("the cat", "red"),)}, "input.options"),
        ({"probe": float("nan")}, "input.number"),
        ({"seed": -1}, "input.number"),
    ],
)
def test_rows_and_numbers_that_do_not_fit(
    job: MethodComparison, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(OsdEdgeError) as refused:
        compare(replace(job, **({"probe": None} | changes)), tmp_path)  # type: ignore[arg-type]
    assert refused.value.code == code
    assert not any(tmp_path.iterdir())


def test_a_result_is_found_by_all_of_its_inputs(tmp_path: Path) -> None:
    results = KeptResults(tmp_path)
    results.put("osd", {"seed": 0}, {"size": 1})
    assert results.get("osd", {"seed": 0}) == {"size": 1}
    assert results.get("osd", {"seed": 1}) is None and results.get("lora", {"seed": 0}) is None
