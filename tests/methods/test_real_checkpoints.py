"""MiniLM with its real weights, and four classifiers really fine-tuned from it, against torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from osd_edge.data.examples import read_examples
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.fine_tuned_accuracy import fine_tuned_accuracy
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import WithDelta
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession, evaluate
from tests.support.shared import CHECKPOINTS, require_shared

TEXTS = (
    ["How far is it from here?"],
    ["a film of real charm", "no", "it never comes to life , and the jokes fall flat one by one"],
    ["My card has not arrived yet, and the app says it was sent two weeks ago. " * 6, "What?"],
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minilm") / "base"
    export_base(minilm_folder(), folder)
    return folder


@pytest.fixture(scope="module")
def session(package: Path) -> EdgeSession:
    return EdgeSession(package)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(ours - theirs).max() <= 1e-4 * max(1, np.abs(theirs).max())


def test_minilm_equals_torch(session: EdgeSession) -> None:
    model = AutoModel.from_pretrained(minilm_folder()).eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    for texts in TEXTS:
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**tokens)
        output = session.run(session.encode(texts))
        real = tokens["attention_mask"].numpy() == 1
        assert_close(output.hidden[real], expected.last_hidden_state.numpy()[real])
        assert output.pooled is not None
        assert_close(output.pooled, expected.pooler_output.numpy())


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize(("method", "values"), [("truncsvd", "int8"), ("osd", "fp32")])
def test_a_task_equals_torch_with_the_decoded_delta(
    session: EdgeSession, tmp_path: Path, name: str, method: str, values: str
) -> None:
    shared = require_shared()
    path = tmp_path / f"{name}.osd.safetensors"
    tuned = shared / "checkpoints" / name
    calibration = read_examples(shared / "data" / name / "train.tsv")[:48]
    export_task(
        minilm_folder(),
        tuned,
        path,
        method=method,
        values=values,
        calibration=calibration,
        extra_rank=None if method == "truncsvd" else 2,
    )
    pair = open_fine_tuned(minilm_folder(), tuned)
    bundle = read_bundle_file(path)
    model = TaskModel(pair.backbone, pair.tuned)
    tokenizer = AutoTokenizer.from_pretrained(tuned)
    task = session.load(path)
    try:
        for texts in TEXTS:
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            delta = WithDelta(bundle.sites, bundle.head)
            with model.at(delta) as module, torch.inference_mode():
                expected = module(**tokens).logits.numpy()
            logits = session.run(session.encode(texts), task=task).logits
            assert logits is not None
            assert_close(logits, expected)
    finally:
        session.unload(task)


@pytest.mark.parametrize("name", ["trec", "mr"])
@pytest.mark.slow(reason="answers a test set of 1,200 or 2,000 rows twice")
def test_full_rank_scores_as_the_fine_tuned_model(
    session: EdgeSession, tmp_path: Path, name: str
) -> None:
    """Within half a point on the whole test set; docs/results.md has the other two sets."""
    shared = require_shared()
    path = tmp_path / f"{name}.osd.safetensors"
    tuned = shared / "checkpoints" / name
    export_task(minilm_folder(), tuned, path, method="truncsvd", budget="r=384")
    examples = read_examples(shared / "data" / name / "test.tsv")
    task = session.load(path)
    try:
        ours = evaluate(session, task, examples, max_length=128).accuracy
    finally:
        session.unload(task)
    assert ours == pytest.approx(fine_tuned_accuracy(minilm_folder(), tuned, examples), abs=0.005)
