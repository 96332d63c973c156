"""A kind of task that nobody knows: an object in each of three tables, and it does all that is due.

It is exported, asked through the session and the command line, and scored; no other file changes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from osd_edge.data.examples import Example
from osd_edge.errors import InputError, TaskError
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters import kinds as workstation
from osd_edge.formats import kinds as formats
from osd_edge.formats.heads import Floats, sigmoid
from osd_edge.runtime import EdgeSession, evaluate
from osd_edge.runtime import kinds as device
from tests.support import tiny
from tests.support.command_line import run_cli

GRADES = ("poor", "fair", "good", "best")
TEXTS = tiny.sentences(24, seed=11)


@dataclass(frozen=True)
class Grade:
    """The highest step of a ladder that a text reaches, and how sure each step is."""

    label: str
    steps: tuple[float, ...]


class TrainedOrdinal(workstation.Kind):
    """Grades on the workstation: one yes or no for each step."""

    name = "ordinal"
    labelled = True
    least_labels = 2

    def is_of(self, architecture: str, config: Any) -> bool:
        return False  # no configuration tells: the export names the kind

    def loss(
        self, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(given, reference.sigmoid())

    def answers(self, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return torch.tensor([reached(steps) for steps in logits.sigmoid().numpy()])

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(logits.shape[1]) <= labels[:, None]
        return functional.binary_cross_entropy_with_logits(logits, steps.float(), reduction="sum")


class Ordinal(device.Kind):
    """Grades on the device: the last step whose chance is above a half, or else the first."""

    name = "ordinal"
    labelled = True

    def answers(self, task: device.AskedTask, request: device.Request) -> list[Grade]:
        inputs = task.encoder(request.texts, max_length=request.max_length)
        return [
            Grade(task.labels[reached(steps)], tuple(map(float, steps)))
            for steps in sigmoid(task.logits(inputs))
        ]

    def entries(self, text: str, answer: Grade) -> list[device.Entry]:
        score = answer.steps[GRADES.index(answer.label)]
        return [{"text": text, "label": answer.label, "score": score, "steps": answer.steps}]


def reached(steps: Floats) -> int:
    return max((i for i, chance in enumerate(steps) if chance > 0.5), default=0)


@pytest.fixture(scope="module")
def ordinal() -> Iterator[None]:
    """Puts the kind into the three tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(formats.KINDS, "ordinal", formats.TaskKind("ordinal"))
        patch.setitem(workstation.KINDS, "ordinal", TrainedOrdinal())
        patch.setitem(device.KINDS, "ordinal", Ordinal())
        yield


@pytest.fixture(scope="module")
def folder(ordinal: None, tmp_path_factory: pytest.TempPathFactory, short_training: None) -> Path:
    """A base, its package, a grader and a classifier, and a bundle of each."""
    folder = tmp_path_factory.mktemp("ordinal")
    base = tiny.make_base("bert", folder / "base")
    export_base(base, folder / "package")
    grader = tiny.make_tuned(base, folder / "grader", labels=GRADES, size=0.2)
    colours = tiny.make_tuned(base, folder / "colours", size=0.2)
    report = export_task(
        base,
        grader,
        folder / "grader.osd.safetensors",
        kind="ordinal",
        budget="16KiB",
        calibration=[Example(text, None) for text in tiny.sentences(40, seed=12)],
    )
    assert report.compressed is not None and report.frozen_head is not None
    export_task(base, colours, folder / "colours.osd.safetensors", method="truncsvd", budget="r=4")
    return folder


def test_the_three_tables_have_the_same_kinds() -> None:
    assert set(formats.KINDS) == set(workstation.KINDS) == set(device.KINDS)
    for table in (formats.KINDS, workstation.KINDS, device.KINDS):
        assert all(kind.name == name for name, kind in table.items())


def test_a_new_kind_is_exported_asked_and_scored(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = EdgeSession(folder / "package", threads=1)
    task = session.load(folder / "grader.osd.safetensors")
    assert session.kind(task) == "ordinal" and session.labels(task) == GRADES

    logits = session.run(session.encode(TEXTS), task=task).logits
    assert logits is not None
    expected = [GRADES[reached(steps)] for steps in sigmoid(logits)]
    assert len(set(expected)) > 1
    grades = session.ask(TEXTS, task=task)
    assert [grade.label for grade in grades] == expected
    session.activate(task)
    assert session.ask(TEXTS) == grades

    result = run_cli(
        capsys,
        *("run", "--base", folder / "package", "--threads", "1", "--json"),
        *("--bundle", folder / "grader.osd.safetensors"),
        *("--bundle", folder / "colours.osd.safetensors"),
        *(option for text in TEXTS[:3] for option in ("--text", text)),
    )
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert [row["task"] for row in rows] == ["grader"] * 3 + ["colours"] * 3
    assert [row["text"] for row in rows] == TEXTS[:3] * 2
    graded = session.ask(TEXTS[:3])
    assert [row["label"] for row in rows[:3]] == [grade.label for grade in graded]
    for row, grade in zip(rows, graded, strict=False):
        assert row["steps"] == pytest.approx(grade.steps)

    labels = [*expected[:-6], *(GRADES[GRADES.index(label) - 1] for label in expected[-6:])]
    examples = [Example(text, label) for text, label in zip(TEXTS, labels, strict=True)]
    assert evaluate(session, task, examples).accuracy == pytest.approx(18 / 24)
    data = folder / "graded.tsv"
    data.write_text(
        "\n".join(["label\ttext", *(f"{e.label}\t{e.text}" for e in examples)]) + "\n", "utf-8"
    )
    scored = run_cli(
        capsys,
        *("evaluate", "--base", folder / "package", "--data", data, "--json"),
        *("--bundle", folder / "grader.osd.safetensors"),
    )
    assert json.loads(scored.out) == {"task": "grader", "accuracy": 0.75, "examples": 24}


def test_labelled_rows_are_scored_as_the_kind_says(folder: Path, tmp_path: Path) -> None:
    rows = [
        Example(text, GRADES[i % len(GRADES)]) for i, text in enumerate(tiny.sentences(40, seed=13))
    ]
    path = tmp_path / "scored.osd.safetensors"
    report = export_task(
        folder / "base",
        folder / "grader",
        path,
        kind="ordinal",
        method="truncsvd",
        budget="r=4",
        calibration=rows,
    )
    session = EdgeSession(folder / "package", threads=1)
    on_device = evaluate(session, session.load(path), rows)
    assert report.labelled and report.compressed is not None
    assert report.compressed.accuracy == pytest.approx(on_device.accuracy)


def test_a_new_kind_stands_beside_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = EdgeSession(folder / "package", threads=1)
    for name in ("grader", "colours"):
        session.load(folder / f"{name}.osd.safetensors")
    inputs = session.encode(TEXTS[:2])
    mixed = session.run(inputs, tasks=["grader", "colours"])
    for row, name in enumerate(("grader", "colours")):
        alone = session.run({k: x[row : row + 1] for k, x in inputs.items()}, task=name).logits
        found = mixed.logits[row]
        assert alone is not None and found is not None
        assert np.abs(found - alone[0]).max() < 1e-4
    with pytest.raises(TaskError, match="is of the kind ordinal") as refusal:
        session.classify(TEXTS, task="grader")
    assert refusal.value.code == "task.kind"
    with pytest.raises(InputError) as pairs:
        session.ask(TEXTS, TEXTS, task="grader")
    assert pairs.value.code == "input.texts"
    asked = run_cli(
        capsys,
        *("run", "--base", folder / "package", "--bundle", folder / "grader.osd.safetensors"),
        *("--text", "a cat", "--question", "who sat"),
    )
    assert "input.options" in asked.err
