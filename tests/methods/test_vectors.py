"""`export task --vectors`: changes of biases and norms, from checkpoints to a session."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)

from osd_edge import BudgetError, BundleError, InputError, ModelError, read_bundle_file
from osd_edge.exporters import TaskExporter, export_base, export_task
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.osd_rd.vectors import vector_weights
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED, WithDelta
from osd_edge.runtime import EdgeSession
from tests.support import decoders, tiny
from tests.support.command_line import run_cli

pytestmark = pytest.mark.usefixtures("short_training")

TEXTS = tiny.sentences(12, seed=9, longest=30)


def make_bitfit(base: Path, folder: Path, size: float = 0.3, *, layers: float = 0.0) -> Path:
    """Saves a classifier of which biases, norms and the head were trained.

    With `layers` linear layers have a delta too, of that size.
    """
    tiny.make_tuned(base, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    original = dict(AutoModel.from_pretrained(base).named_parameters())
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.base_model.named_parameters():
            change = size if parameter.ndim == 1 else layers if "embeddings" not in name else 0
            parameter.copy_(original[name] + change * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, its packages with and without vectors, `bitfit`, `both` and rows."""
    folder = tmp_path_factory.mktemp("bitfit")
    base = tiny.make_base("bert", folder / "base")
    export_base(base, folder / "package", vectors=True)
    export_base(base, folder / "plain")
    make_bitfit(base, folder / "bitfit")
    make_bitfit(base, folder / "both", layers=0.1)
    (folder / "rows.txt").write_text("\n".join(tiny.sentences(240, seed=4)), "utf-8")
    return folder


def torch_logits(model: Any, base: Path, texts: list[str]) -> np.ndarray:
    inputs = tiny.tokens_of(base, texts, ("input_ids", "attention_mask", "token_type_ids"))
    with torch.inference_mode():
        return np.asarray(model(**inputs).logits)


def device_logits(package: Path, bundle: Path, texts: list[str]) -> np.ndarray:
    session = EdgeSession(package, threads=1)
    session.activate(session.load(bundle))
    logits = session.run(session.encode(texts)).logits
    assert logits is not None
    return logits


def test_a_model_of_which_biases_and_norms_were_trained(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.osd.safetensors"
    with pytest.raises(ModelError, match="--vectors") as refused:
        export_task(models / "base", models / "bitfit", out)
    assert refused.value.code == "model.same"
    report = export_task(models / "base", models / "bitfit", out, vectors=True, budget="16KiB")
    assert report.sites == 0 and report.left_out == {}
    assert report.vectors == len(read_bundle_file(out).vectors) == 23
    assert 0 < report.vectors_size == report.delta_size < 4096
    tuned = AutoModelForSequenceClassification.from_pretrained(models / "bitfit").eval()
    session = EdgeSession(models / "package", threads=1)
    session.activate(session.load(out))
    inputs = session.encode(TEXTS)
    with torch.inference_mode():
        given = {name: torch.from_numpy(np.asarray(array)) for name, array in inputs.items()}
        expected = tuned.base_model(**given).last_hidden_state.numpy()
    error = np.abs(session.run(inputs).hidden - expected)[np.asarray(inputs["attention_mask"]) > 0]
    assert error.max() <= 1e-2 * np.abs(expected).max()
    with pytest.raises(BundleError, match="export the base with --vectors") as refusal:
        EdgeSession(models / "plain", threads=1).load(out)
    assert refusal.value.code == "bundle.vector-base"


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("refine", ["none", "scales", "codes"])
@pytest.mark.parametrize("budget", [2048, 6144])
def test_vectors_share_the_budget_with_layers(
    models: Path, tmp_path: Path, refine: str, budget: int
) -> None:
    out = tmp_path / "t.osd.safetensors"
    exporter = TaskExporter(
        models / "base", models / "both", calibration=models / "rows.txt", vectors=True
    )
    report = exporter.export(out, budget=budget, refine=refine)
    assert 0.9 * budget < report.size <= budget and report.sites and report.vectors
    bundle = read_bundle_file(out)
    # What the calibration set scores is what a device computes.
    pair = exporter.source.models
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    with model.at(WithDelta(bundle.sites, bundle.head, bundle.vectors)) as module:
        expected = torch_logits(module, models / "base", TEXTS)
    found = device_logits(models / "package", out, TEXTS)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_what_no_answer_depends_on_takes_no_bytes(models: Path, tmp_path: Path) -> None:
    """A key's bias adds as much to the score of every token that a token may see."""
    out = tmp_path / "t.osd.safetensors"
    exporter = TaskExporter(
        models / "base", models / "both", calibration=models / "rows.txt", vectors=True
    )
    exporter.export(out, budget="16KiB", refine="none")
    names = {index: name for name, index in exporter.source.vector_index.items()}
    held = {names[change.vector] for change in read_bundle_file(out).vectors}
    assert {"key" in name for name in exporter.source.vectors} == {True, False}
    assert held and not any(name.endswith("key.bias") for name in held)


def test_the_report_says_that_vectors_are_missed(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "task", "--base", models / "base", "--tuned", models / "both"]
    arguments += ["--calibration", models / "rows.txt", "--refine", "none", "--budget", "16KiB"]
    out = tmp_path / "t.osd.safetensors"
    said = run_cli(capsys, *arguments, "-o", out).out
    assert "linear layers with biases and norms reach 100.0 %: --vectors" in said
    told = json.loads(run_cli(capsys, *arguments, "--vectors", "-o", out, "--json").out)
    assert told["needs_vectors"] is False and told["with_vectors"] is None
    assert told["linear_only"]["accuracy"] == 1 and told["left_out"] == {}
    said = run_cli(capsys, *arguments, "--vectors", "-o", out).out
    assert "over a base exported with --vectors" in said


def test_unchanged_vectors_make_a_bundle_without(models: Path, tmp_path: Path) -> None:
    tuned = tiny.make_tuned(models / "base", tmp_path / "tuned", linear_only=True)
    files = [tmp_path / "one" / "t.osd.safetensors", tmp_path / "two" / "t.osd.safetensors"]
    for file, vectors in zip(files, (True, False), strict=True):
        file.parent.mkdir()
        report = export_task(models / "base", tuned, file, vectors=vectors, budget="4KiB")
        assert report.vectors == (0 if vectors else None)
    assert files[0].read_bytes() == files[1].read_bytes()
    device_logits(models / "plain", files[0], TEXTS)


@pytest.mark.parametrize("method", ["truncsvd", "osd", "head"])
def test_other_methods_take_no_vectors(models: Path, tmp_path: Path, method: str) -> None:
    with pytest.raises(InputError, match=f"{method} does not take --vectors") as refused:
        export_task(
            models / "base",
            models / "both",
            tmp_path / "t.osd.safetensors",
            method=method,
            vectors=True,
        )
    assert refused.value.code == "input.options"


def test_changed_norms_of_a_task_that_writes(tmp_path: Path) -> None:
    base = decoders.make_decoder("llama", tmp_path / "base")
    tuned = decoders.make_tuned(base, tmp_path / "tuned")
    model = AutoModelForCausalLM.from_pretrained(tuned)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    model.save_pretrained(tuned)
    export_base(base, tmp_path / "package", task="generate", vectors=True)
    out = tmp_path / "t.osd.safetensors"
    report = export_task(base, tuned, out, vectors=True, budget="256KiB")
    assert report.kind == "generate" and report.vectors == 5 and report.left_out == {}
    session = EdgeSession(tmp_path / "package", threads=1)
    session.activate(session.load(out))
    tokens = [[2, 5, 9, 7, 4]]
    hidden = session.run({"input_ids": np.array(tokens)}).hidden
    with torch.inference_mode():
        expected = model.eval().model(torch.tensor(tokens)).last_hidden_state.numpy()
    assert np.abs(hidden - expected).max() <= 2e-2 * np.abs(expected).max()


def test_a_budget_of_columns_is_for_vectors_too(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.osd.safetensors"
    report = export_task(models / "base", models / "both", out, vectors=True, budget="r=1")
    pair = open_fine_tuned(models / "base", models / "both")
    allowed = 4 * sum(layer.n + layer.d for layer in pair.backbone.layers)
    assert report.vectors and 0.9 * allowed < report.delta_size <= allowed
    with pytest.raises(BudgetError, match="none of this task's have changed") as refused:
        export_task(models / "base", models / "bitfit", out, vectors=True, budget="r=1")
    assert refused.value.code == "budget.too-small"


def test_the_weight_of_a_vector_of_pictures_is_a_patchs_share(tmp_path: Path) -> None:
    """Twice as many patches with the same gradients weigh half, as for the tokens of texts."""
    base = tiny.make_base("vit", tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned", task=AutoModelForImageClassification)
    pair = open_fine_tuned(base, tuned)
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    name = next(iter(pair.changed_vectors))
    with model.at(TUNED) as module:
        config = module.config
        pixels = torch.rand(2, config.num_channels, config.image_size, config.image_size)
        parameter = model.parameter(name).requires_grad_(True)
        logits = module(pixel_values=pixels).logits
        probe = KINDS[pair.head.kind].probe(logits, None, torch.Generator().manual_seed(0))
        gradient = torch.autograd.grad(probe, parameter)[0]
        parameter.requires_grad_(False)
    patches = 2 * (config.image_size // config.patch_size) ** 2
    expected = math.sqrt(float(gradient.square().mean()) / patches)
    batch = Batch({"pixel_values": pixels}, None, (0, 1))
    found = vector_weights(model, [name], [batch], 0)[name]
    assert found == pytest.approx(expected, rel=0.2)  # a class token is a token or is none
