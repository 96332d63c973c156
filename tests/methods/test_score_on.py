"""Rows that only score, and rows that the fine-tuned model seems to know."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from osd_edge import Example, write_tsv
from osd_edge.cli.export_task import _describe
from osd_edge.errors import DataError, InputError
from osd_edge.exporters import TaskExporter, export_task
from osd_edge.exporters.methods.floor import Floor
from osd_edge.formats.bundle.reader import read_bundle_file
from tests.support import tiny


def answers(tuned: Path, texts: Sequence[str]) -> list[str]:
    """The labels that transformers gives the texts."""
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    tokens = AutoTokenizer.from_pretrained(tuned)(list(texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        indices = model(**tokens).logits.argmax(-1)
    return [model.config.id2label[int(index)] for index in indices]


@pytest.fixture(scope="module")
def models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base and a model whose whole difference a bundle can hold."""
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    base = tiny_models / "base"
    return base, tiny.make_tuned(base, folder, size=0.3, linear_only=True)


@pytest.fixture(scope="module")
def rows(models: tuple[Path, Path]) -> tuple[Example, ...]:
    """Rows with the answers of the fine-tuned model: it is right in all."""
    texts = sorted(set(tiny.sentences(500, seed=5)))
    labels = answers(models[1], texts)
    assert len(set(labels)) > 1
    return tuple(Example(*row) for row in zip(texts, labels, strict=True))


def wrong(rows: Sequence[Example]) -> tuple[Example, ...]:
    """Rows of which every second has another label than the model's."""
    other = {label: tiny.LABELS[i - 1] for i, label in enumerate(tiny.LABELS)}
    return tuple(
        Example(row.text, row.label if i % 2 else other[row.label or ""])
        for i, row in enumerate(rows)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"method": "osd-rd", "refine": "none"},
        {"method": "head"},
        {"method": "magtruncsvd", "extra_rank": 1},
    ],
)
def test_the_report_is_of_the_rows_that_only_score(
    models: tuple[Path, Path], tmp_path: Path, rows: tuple[Example, ...], options: dict[str, object]
) -> None:
    tuning, scoring = rows[:60], wrong(rows[60:100])
    path = tmp_path / "scoring.tsv"
    write_tsv(scoring, path)
    report = export_task(
        *models,
        tmp_path / "x.osd.safetensors",
        calibration=tuning,
        score_on=path,
        **options,  # type: ignore[arg-type]
    )
    assert report.fine_tuned is not None and report.fine_tuned.accuracy == 0.5
    assert (report.held_back, report.calibration_examples) == (40, 60)
    assert report.only_scored and report.shared_rows == 0
    assert "on 40 examples that only score" in _describe(report)
    assert report.compressed is not None
    bundle = read_bundle_file(tmp_path / "x.osd.safetensors")
    compressed = bundle.scores["compressed"]
    accuracy = compressed["accuracy"] if isinstance(compressed, dict) else compressed
    assert accuracy == pytest.approx(report.compressed.accuracy, abs=1e-4)


def test_all_calibration_rows_tune_where_others_score(
    models: tuple[Path, Path], rows: tuple[Example, ...]
) -> None:
    exporter = TaskExporter(*models, calibration=rows[:50], score_on=rows[50:60])
    assert Floor(exporter.source, 0).tuning == rows[:50]
    alone = TaskExporter(*models, calibration=rows[:50])
    assert len(Floor(alone.source, 0).tuning) == 40


def test_rows_of_both_are_counted(
    models: tuple[Path, Path], tmp_path: Path, rows: tuple[Example, ...]
) -> None:
    exporter = TaskExporter(
        *models,
        calibration=rows[:50],
        score_on=(*rows[45:60], Example(rows[0].text, rows[1].label)),
    )
    report = exporter.export(tmp_path / "x.osd.safetensors", refine="none")
    assert report.shared_rows == 6
    assert "6 of the 16 examples that only score are calibration examples too" in _describe(report)


@pytest.mark.parametrize(
    ("score_on", "code", "says"),
    [
        (slice(0, 20), "input.options", "every row of --score-on"),
        (slice(0, 0), "data.empty", "the set to score on"),
    ],
)
def test_rows_that_cannot_score_are_refused(
    models: tuple[Path, Path], rows: tuple[Example, ...], score_on: slice, code: str, says: str
) -> None:
    with pytest.raises((InputError, DataError), match=says) as refused:
        TaskExporter(
            *models,
            calibration=rows[:50],
            score_on=rows[score_on],
        )
    assert refused.value.code == code


def test_rows_that_only_score_need_others_that_tune(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --calibration") as refused:
        export_task("base", "tuned", tmp_path / "x.osd.safetensors", score_on="rows.tsv")
    assert refused.value.code == "input.options"


def test_keep_refuses_rows_that_the_model_knows_unless_it_is_insisted_on(
    models: tuple[Path, Path], tmp_path: Path, rows: tuple[Example, ...]
) -> None:
    """The model is right in all, and far from sure: as if it had been trained on them."""
    out = tmp_path / "x.osd.safetensors"
    wanted: dict[str, Any] = {"keep": 0.2, "refine": "none"}
    exporter = TaskExporter(*models, calibration=rows)
    with pytest.raises(DataError, match="--score-on FILE, or insist with --trust-rows") as refused:
        exporter.export(out, **wanted)
    assert refused.value.code == "data.seen" and not out.exists()
    report = exporter.export(out, **wanted, trust_rows=True)
    assert report.share is not None and report.share >= 0.2
    assert report.familiarity is not None and report.familiarity.seen
    assert report.familiarity.rows > report.held_back  # rows that tune tell too
    assert "seems to have been trained on these examples" in _describe(report)


def test_keep_decides_by_rows_that_only_score(
    models: tuple[Path, Path], tmp_path: Path, rows: tuple[Example, ...]
) -> None:
    scoring = rows[100:300]
    report = export_task(
        *(*models, tmp_path / "x.osd.safetensors"),
        calibration=rows[:100],
        score_on=scoring,
        keep=0.2,
        refine="none",
        trust_rows=True,
    )
    assert report.held_back == 200 and report.curve and (report.share or 0) >= 0.2
    assert report.familiarity is not None and report.familiarity.rows == 200
    with pytest.raises(DataError, match="at least 100 rows of --score-on") as refused:
        export_task(
            *(*models, tmp_path / "x.osd.safetensors"),
            calibration=rows[:300],
            score_on=scoring[:99],
            keep=0.2,
        )
    assert refused.value.code == "data.few-rows"


def test_new_rows_are_said_to_be_nothing(
    models: tuple[Path, Path], tmp_path: Path, rows: tuple[Example, ...]
) -> None:
    exporter = TaskExporter(*models, calibration=wrong(rows))
    report = exporter.export(tmp_path / "x.osd.safetensors", refine="none")
    assert report.familiarity is not None and report.familiarity.seen is False
    assert "seems" not in _describe(report)
