"""A head with one output: a number or a chance, as in transformers or as the user says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TextClassificationPipeline,
)

from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.models.library_version import TRANSFORMERS
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.checkpoints import adapting, refusal, write_adapter
from tests.support.command_line import run_cli
from tests.support.spoiled import edit, spoil

EXACT: dict[str, Any] = {"method": "truncsvd", "budget": "r=32"}
# `problem_type` of the configuration: the kind that is taken, and whether it is said so there.
TAKEN = {
    None: ("regression", True),
    "regression": ("regression", False),
    "multi_label_classification": ("multi-label", False),
}


@pytest.fixture(scope="module")
def package(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "base"
    export_base(tiny_models / "base", out)
    return out


def one_label(models: Path, folder: Path, problem_type: str | None) -> Path:
    return tiny.make_tuned(
        models / "base", folder, labels=("good",), problem_type=problem_type, linear_only=True
    )


def pipeline_scores(model: Path, texts: list[str]) -> list[float]:
    """The scores that transformers' own pipeline gives."""
    pipeline = TextClassificationPipeline(
        model=AutoModelForSequenceClassification.from_pretrained(model),
        tokenizer=AutoTokenizer.from_pretrained(model),
    )
    return [answer["score"] for answer in pipeline(texts)]


def device_scores(package: Path, bundle: Path, texts: list[str]) -> list[float]:
    session = EdgeSession(package)
    return [answer.scores["good"] for answer in session.classify(texts, task=session.load(bundle))]


@pytest.mark.parametrize("problem_type", list(TAKEN))
def test_the_kind_that_is_taken_is_said_where_the_model_leaves_it_open(
    tiny_models: Path,
    tmp_path: Path,
    problem_type: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tuned = one_label(tiny_models, tmp_path / "tuned", problem_type)
    out = tmp_path / "good.osd.safetensors"
    report = export_task(tiny_models / "base", tuned, out, **EXACT)
    kind, unsaid = TAKEN[problem_type]
    assert (report.kind, report.kind_unsaid) == (kind, unsaid)
    words = ("--base", tiny_models / "base", "--tuned", tuned, "--method", "truncsvd", "-o", out)
    said = run_cli(capsys, "export", "task", *words).out
    assert ("--kind multi-label" in said and "problem_type" in said) == unsaid
    for chosen in ("regression", "multi-label"):
        report = export_task(tiny_models / "base", tuned, out, kind=chosen, **EXACT)
        assert report.kind == chosen and not report.kind_unsaid
    assert "problem_type" not in run_cli(capsys, "export", "task", *words, "--kind", kind).out


@pytest.mark.parametrize(
    ("problem_type", "kind"),
    [
        ("regression", None),
        ("multi_label_classification", None),
        (None, "multi-label"),  # by which the pipeline's answer is had
    ],
)
def test_scores_are_those_of_transformers_pipelines(
    tiny_models: Path, package: Path, tmp_path: Path, problem_type: str | None, kind: str | None
) -> None:
    tuned = one_label(tiny_models, tmp_path / "tuned", problem_type)
    out = tmp_path / "good.osd.safetensors"
    export_task(tiny_models / "base", tuned, out, kind=kind, **EXACT)
    texts = tiny.sentences(6)
    expected = pipeline_scores(tuned, texts)
    assert device_scores(package, out, texts) == pytest.approx(
        expected, abs=1e-3
    )  # of a head in fp16


def test_one_label_of_several_is_refused_with_what_else_there_is(
    tiny_models: Path, package: Path, tmp_path: Path
) -> None:
    tuned = one_label(tiny_models, tmp_path / "tuned", None)
    texts, out = tiny.sentences(6), tmp_path / "good.osd.safetensors"
    edit(tuned / "config.json", problem_type="single_label_classification")
    code, message = refusal(lambda: export_task(tiny_models / "base", tuned, out, **EXACT))
    if TRANSFORMERS >= 5:  # which opens no such model at all
        assert code == "model.config" and "num_labels > 1" in message
        return
    assert code == "model.head"
    assert "--kind multi-label" in message and "--kind regression" in message
    export_task(tiny_models / "base", tuned, out, kind="multi-label", **EXACT)
    expected = pipeline_scores(tuned, texts)
    assert device_scores(package, out, texts) == pytest.approx(
        expected, abs=1e-3
    )  # of a head in fp16


def test_an_adapter_with_one_output_leaves_it_open(models: Path, tmp_path: Path) -> None:
    write_adapter(models / "one")
    spoil(
        models / "one" / "adapter_model.safetensors",
        lambda t: t.update(
            {
                "base_model.model.classifier.weight": torch.ones(1, 32),
                "base_model.model.classifier.bias": torch.ones(1),
            }
        ),
    )
    out = tmp_path / "one.osd.safetensors"
    report = export_task(models / "base", None, out, adapters=[(models / "one", 1.0)], **EXACT)
    assert report.kind == "regression" and report.kind_unsaid


CROSS_ENCODERS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "before 4": (None, {"sbert_ce_default_activation_function": "torch.nn.modules.{}"}),
    "4 and 5": (None, {"sentence_transformers": {"activation_fn": "torch.nn.modules.{}"}}),
    "6": ("torch.nn.modules.{}", {}),
}


@pytest.mark.parametrize("release", list(CROSS_ENCODERS))
@pytest.mark.parametrize("activation", ["activation.Sigmoid", "linear.Identity"])
def test_scores_are_those_of_a_cross_encoder(
    tiny_models: Path, package: Path, tmp_path: Path, release: str, activation: str
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="it saves cross-encoders")
    tuned = one_label(tiny_models, tmp_path / "tuned", None)
    beside, settings = CROSS_ENCODERS[release]
    if beside is not None:
        file = tuned / "config_sentence_transformers.json"
        file.write_text(json.dumps({"activation_fn": beside.format(activation)}), "utf-8")
    written = json.dumps(settings).replace("modules.{}", f"modules.{activation}")
    edit(tuned / "config.json", **json.loads(written))
    # Where this is left open, versions of transformers differ.
    inputs_of = ["input_ids", "token_type_ids", "attention_mask"]
    edit(tuned / "tokenizer_config.json", model_input_names=inputs_of)
    out = tmp_path / "good.osd.safetensors"
    report = export_task(tiny_models / "base", tuned, out, **EXACT)
    chances = activation == "activation.Sigmoid"
    assert report.kind == ("multi-label" if chances else "regression") and not report.kind_unsaid
    texts, pairs = tiny.sentences(6, seed=1), tiny.sentences(6, seed=2)
    used = getattr(torch.nn, activation.partition(".")[2])()
    encoder = library.CrossEncoder(str(tuned), device="cpu", activation_fn=used)
    inputs = [*zip(texts, pairs, strict=True)]
    session = EdgeSession(package)
    found = session.classify(texts, pairs, task=session.load(out))
    assert [answer.scores["good"] for answer in found] == pytest.approx(
        encoder.predict(inputs).tolist(), abs=1e-3
    )


def test_an_adapters_own_head_is_not_its_bases(models: Path) -> None:
    """A base that was a cross-encoder names what its own logits went through."""
    edit(
        models / "base" / "config.json",
        sbert_ce_default_activation_function="torch.nn.modules.activation.Sigmoid",
    )
    assert adapting(models)().head.kind == "labels"
