"""Scores of an export are of the tokens that a device makes: its cut, its side, its prompt."""

import json
from pathlib import Path
from typing import Any

import pytest

from osd_edge.data.examples import Example
from osd_edge.exporters import export_task
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.text_set import TextSet
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.families import Families

TEXTS = [" ".join(tiny.sentences(30, seed=seed)) for seed in (5, 6, 7)] + ["the cat sat"]
OTHERS = ["a bird flew", " ".join(tiny.sentences(40, seed=8)), "the dog ran over", "a mat"]
PROMPTS = {"prompts": {"q": "a bird sat ", "d": "a mat "}, "default_prompt_name": "q"}


@pytest.fixture(scope="module")
def tuned(families: Families, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of sentence-transformers that cuts its texts on the left, behind a prompt."""
    folder = tmp_path_factory.mktemp("texts") / "tuned"
    tiny.make_tuned(families("bert") / "base", folder)
    stages = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    files = {"modules.json": stages, "config_sentence_transformers.json": PROMPTS}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    file = folder / "tokenizer_config.json"
    settings = {"model_max_length": 13, "truncation_side": "left"}
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")
    return folder


def by_row(batches: list[Batch]) -> list[list[int]]:
    """The tokens of each row without padding, in the order of the set."""
    found: dict[int, Any] = {}
    for batch in batches:
        assert batch.mask is not None
        for row, ids, mask in zip(batch.rows, batch.tokens["input_ids"], batch.mask, strict=True):
            found[row] = ids[mask.bool()].tolist()
    return [found[row] for row in sorted(found)]


@pytest.mark.parametrize("pairs", [None, OTHERS], ids=["texts", "pairs"])
def test_calibration_sees_the_tokens_of_the_device(
    families: Families, tuned: Path, tmp_path: Path, pairs: list[str] | None
) -> None:
    base = families("bert")
    bundle = tmp_path / "task.osd.safetensors"
    export_task(base / "base", tuned, bundle, method="truncsvd", budget="r=1")
    with EdgeSession(base / "package", threads=1) as session:
        inputs = session.encode(TEXTS, pairs, task=session.load(bundle))
    ids, lengths = inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1).tolist()
    expected = [row[:length] for row, length in zip(ids, lengths, strict=True)]
    assert max(lengths) == 13 and expected[0][1:3] != expected[3][1:3]
    examples = [
        Example(text, None, None if pairs is None else pairs[i]) for i, text in enumerate(TEXTS)
    ]
    models = open_fine_tuned(base / "base", tuned)
    assert by_row(batches_of(models, examples)) == expected
    assert by_row(TextSet(models, examples)._batches) == expected


def test_the_command_says_how_texts_are_cut(
    families: Families, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "task.osd.safetensors"
    base = families("bert") / "base"
    arguments = ("export", "task", "--base", base, "--tuned", tuned, "--method", "truncsvd")
    shown = run_cli(capsys, *arguments, "-o", out).out
    assert "  texts: at most 13 tokens, cut on the left, behind the prompt 'a bird sat '" in shown
    assert "  its other prompts are put before no text unless you do: d 'a mat '" in shown
    report = json.loads(run_cli(capsys, *arguments, "-o", out, "--json").out)
    text = {"max_length": 13, "truncation": "left", "prompt": "a bird sat "}
    assert (report["text"], report["prompts"]) == (text, {"d": "a mat "})
    assert report["longer_texts"] is None
    shown = run_cli(capsys, "inspect", out).out
    assert "text    at most 13 tokens, cut on the left, behind the prompt 'a bird sat '" in shown


def test_the_command_says_that_a_base_cuts_sooner(
    families: Families, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.make_base("bert", tmp_path / "base")
    file = base / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8")) | {"model_max_length": 9}
    file.write_text(json.dumps(settings), "utf-8")
    arguments = ("--base", base, "--tuned", tuned, "--method", "truncsvd")
    out = tmp_path / "task.osd.safetensors"
    shown = run_cli(capsys, "export", "task", *arguments, "-o", out).out
    assert "sooner than this model's own software, which takes 13 tokens" in shown
