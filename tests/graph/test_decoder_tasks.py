"""Classifiers, taggers, span finders and embedders of decoders: the device against torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.models.families import load_family
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import WithDelta
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support import decoders, tiny

CLASSES: dict[str, Any] = {
    "sequence": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "spans": AutoModelForQuestionAnswering,
}
TEXTS = (tiny.sentences(1, seed=1), tiny.sentences(6, seed=3, longest=30))


@pytest.fixture(scope="module", params=decoders.DECODERS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, its package and a model for each head that the family has."""
    folder = tmp_path_factory.mktemp(request.param)
    decoders.make_decoder(request.param, folder / "base")
    export_base(folder / "base", folder / "package")
    for head in load_family(request.param).heads:
        count = {} if head == "spans" else {"num_labels": 3}
        decoders.make_tuned(folder / "base", folder / head, CLASSES[head], **count)
    return folder


def tokens_of(session: EdgeSession, texts: list[str]) -> dict[str, torch.Tensor]:
    """The session's own tokens: version 5 of transformers makes Qwen2's tokenizer anew."""
    return {name: torch.from_numpy(array) for name, array in session.encode(texts).items()}


def answers_of(head: str, output: Any) -> torch.Tensor:
    """Logits as a bundle has them: those of a span's start and end side by side."""
    if head == "spans":
        return torch.stack([output.start_logits, output.end_logits], -1)
    logits: torch.Tensor = output.logits
    return logits


def test_a_device_answers_as_transformers_does(family: Path, tmp_path: Path) -> None:
    """At full rank, every kind that the family has, in one session."""
    session = EdgeSession(family / "package", threads=1)
    for head, task in CLASSES.items():
        if not (family / head).exists():
            continue
        path = tmp_path / f"{head}.osd.safetensors"
        options = HeadOptions(values="fp32")
        export_task(
            family / "base", family / head, path, method="truncsvd", budget="r=64", head=options
        )
        session.activate(session.load(path))
        model = task.from_pretrained(family / head).eval()
        for texts in TEXTS:
            tokens = tokens_of(session, texts)
            with torch.inference_mode():
                expected = answers_of(head, model(**tokens)).numpy()
            logits = session.run(session.encode(texts)).logits
            assert logits is not None
            real = tokens["attention_mask"].numpy() == 1
            if head == "sequence":
                real = np.ones(len(texts), bool)
            bound = 1e-4 * max(1, np.abs(expected[real]).max())
            assert np.abs(logits[real] - expected[real]).max() <= bound


def test_a_coded_classifier_equals_the_torch_model_that_scores_it(
    family: Path, tmp_path: Path
) -> None:
    """The default method, whose statistics run through every layer."""
    rows = tiny.write_tsv(tmp_path / "rows.tsv", 24, tuple(f"LABEL_{i}" for i in range(3)))
    path = tmp_path / "t.osd.safetensors"
    report = export_task(
        family / "base",
        family / "sequence",
        path,
        budget="24KiB",
        refine="none",
        calibration=rows,
    )
    assert report.sites and report.size <= 24 * 1024 and report.kind == "labels"
    session = EdgeSession(family / "package", threads=1)
    session.activate(session.load(path))
    pair, bundle = open_fine_tuned(family / "base", family / "sequence"), read_bundle_file(path)
    texts = TEXTS[1]
    tokens = tokens_of(session, texts)
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    with model.at(WithDelta(bundle.sites, bundle.head)) as module, torch.inference_mode():
        expected = module(**tokens).logits.numpy()
    logits = session.run(session.encode(texts)).logits
    assert logits is not None
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    assert [answer.label for answer in session.classify(texts)] == [
        f"LABEL_{i}" for i in expected.argmax(1)
    ]


def test_classifiers_and_texts_share_a_session_and_its_package(
    family: Path, tmp_path: Path
) -> None:
    """A package that writes has the hidden states of one that does not, but for rounding."""
    export_base(family / "base", tmp_path / "package", task="generate")
    options = HeadOptions(values="fp32")
    classifier, writer = tmp_path / "c.osd.safetensors", tmp_path / "w.osd.safetensors"
    tuned = decoders.make_tuned(family / "base", tmp_path / "tuned", seed=2)
    export_task(family / "base", family / "sequence", classifier, method="truncsvd", head=options)
    export_task(family / "base", tuned, writer, method="truncsvd", budget="r=64")
    plain = EdgeSession(family / "package", threads=1)
    session = EdgeSession(tmp_path / "package", threads=1)
    for one in (plain, session):
        one.load(classifier, "classifier")
    session.load(writer, "writer")
    texts, model = TEXTS[1], AutoModelForCausalLM.from_pretrained(tuned).eval()
    expected = plain.classify(texts, task="classifier")
    prompt = session.encode(["the cat sat on"])["input_ids"]
    with torch.inference_mode():
        theirs = model(torch.from_numpy(prompt)).logits[0, -1].topk(2)
    for _ in range(2):  # a swap each time
        found = session.classify(texts, task="classifier")
        for ours, other in zip(found, expected, strict=True):
            assert ours.label == other.label
            assert abs(ours.score - other.score) <= 1e-5
        (answer,) = session.generate([prompt[0].tolist()], task="writer", max_tokens=1)
        token = int(theirs.indices[0])
        stops = session.manifest.generation.stop_ids if session.manifest.generation else ()
        close = float(theirs.values[0] - theirs.values[1]) <= 1e-3
        assert close or (answer.tokens == (token,) or (token in stops and not answer.tokens))
