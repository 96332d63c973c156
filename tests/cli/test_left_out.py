"""The command line says what a bundle has no place for, and how much that is beside the rest."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from tests.models.test_adapters import classifier, make_adapter, merged
from tests.support import tiny
from tests.support.command_line import Result, run_cli
from tests.support.refused import assert_refused
from tests.support.spoiled import spoil

Capture = pytest.CaptureFixture[str]
WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "lora-bias": (
        {"target_modules": ["query"], "lora_bias": True},
        ["encoder.layer.*.attention.self.query.bias"],
    ),
    "embeddings": (
        {"target_modules": ["query", "word_embeddings"]},
        ["embeddings.word_embeddings.weight"],
    ),
    "norms": (
        {"target_modules": ["query"], "modules_to_save": ["output.LayerNorm", "classifier"]},
        [
            f"encoder.layer.*.{one}.LayerNorm.{end}"
            for one in ("attention.output", "output")
            for end in ("bias", "weight")
        ],
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base("bert", tmp_path_factory.mktemp("left-out") / "base")


def export(capsys: Capture, base: Path, *more: object) -> Result:
    out = base.parent / "task.osd.safetensors"
    return run_cli(capsys, "export", "task", "--base", base, "--refine", "none", "-o", out, *more)


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_that_trains_more_than_linear_layers(
    base: Path, tmp_path: Path, capsys: Capture, way: str
) -> None:
    settings, names = WAYS[way]
    adapter = make_adapter(base, tmp_path / "adapter", **settings)
    result = export(capsys, base, "--adapter", adapter)
    assert result.code == 0
    line, last = result.out.splitlines()[-2:]
    assert line.startswith("  left out, as the base has it: ")
    assert all(f"{name} (changed by " in line for name in names)
    report = json.loads(export(capsys, base, "--adapter", adapter, "--json").out)
    assert sorted(report["left_out"]) == sorted(names)
    before = dict(classifier(base).named_parameters())
    after = dict(merged(base, adapter).named_parameters())
    changes = {
        name.removeprefix("bert."): float((after[name] - before[name]).detach().norm())
        for name in before
        if name.startswith("bert.")
    }
    kept = {name: changes.pop(name) for name in list(changes) if "query.weight" in name}
    beside = math.hypot(*changes.values()) / math.hypot(*kept.values())
    assert report["left_out_beside_delta"] == pytest.approx(beside, rel=1e-4)
    assert last == f"    together {100 * beside:.1f} % of the size of the linear layers' delta"


def test_it_is_named_beside_scores_too_and_many_names_are_cut(
    tiny_models: Path, base: Path, capsys: Capture
) -> None:
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    rows = tiny_models / "examples.tsv"
    result = export(capsys, base, *models, "--calibration", rows, "--budget", "8KiB")
    assert result.code == 0 and "this bundle" in result.out
    line = next(line for line in result.out.splitlines() if "left out, as" in line)
    assert line.count("changed by") == 6 and line.endswith(" more")


def only(base: Path, folder: Path, part: str) -> Path:
    """Save a classifier of which the parameters with `part` in their names alone were trained."""
    tiny.make_tuned(base, folder)
    own = AutoModel.from_pretrained(base).state_dict()

    def restore(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            plain = name.removeprefix("bert.")
            if plain in own and part not in plain:
                tensors[name] = own[plain].clone()

    spoil(folder / "model.safetensors", restore)
    return folder


@pytest.mark.parametrize(
    ("part", "named"),
    [(".bias", "bias"), ("word_embeddings", "embeddings.word_embeddings.weight")],
)
def test_biases_or_embeddings_alone_are_no_head_alone(
    base: Path, tmp_path: Path, capsys: Capture, part: str, named: str
) -> None:
    result = export(capsys, base, "--tuned", only(base, tmp_path / "tuned", part))
    assert_refused(result, "model.same", named)
    assert "--method head" not in result.err


def test_an_adapter_of_embeddings_alone_is_no_head_alone(
    base: Path, tmp_path: Path, capsys: Capture
) -> None:
    adapter = make_adapter(base, tmp_path / "adapter", target_modules=["word_embeddings"])
    result = export(capsys, base, "--adapter", adapter)
    assert_refused(result, "model.same", "embeddings.word_embeddings.weight")
    assert "--method head" not in result.err


def test_a_head_alone_is_told_what_to_do(base: Path, tmp_path: Path, capsys: Capture) -> None:
    result = export(capsys, base, "--tuned", only(base, tmp_path / "tuned", "nothing"))
    assert_refused(result, "model.same", "--method head")
