"""A model that was not fine-tuned from the base is refused, by its weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from osd_edge.data.examples import read_examples
from osd_edge.errors import InputError
from osd_edge.exporters import export_task
from osd_edge.exporters.compare.comparison import MethodComparison, compare, grid
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.likeness import LEAST
from tests.support import tiny
from tests.support.checkpoints import QUERY, refusal, write_adapter
from tests.support.command_line import run_cli
from tests.support.shared import CHECKPOINTS, require_shared
from tests.support.spoiled import Tensors, edit, spoil

QUICK: dict[str, Any] = {"method": "truncsvd", "budget": "r=1"}


@pytest.fixture
def foreign(models: Path) -> Path:
    """A model of another base, of the same shape and with the same tokenizer."""
    other = tiny.make_base("bert", models / "other", seed=7)
    return tiny.make_tuned(other, models / "foreign")


def test_a_model_of_another_base_of_the_same_shape_is_refused(models: Path, foreign: Path) -> None:
    out = models / "out.osd.safetensors"
    code, message = refusal(lambda: export_task(models / "base", foreign, out, **QUICK))
    assert code == "model.foreign" and not out.exists()
    assert str(foreign) in message and str(models / "base") in message and "--any-base" in message
    figures = [float(word) for word in message.replace(",", " ").split() if "0.0" in word]
    assert figures and all(abs(figure) < LEAST for figure in figures)


@pytest.mark.parametrize("family", ["gpt2", "opt", "albert", "vit", "modernbert"])
def test_so_is_one_of_any_family(tmp_path: Path, family: str) -> None:
    base, other = (tiny.make_base(family, tmp_path / str(seed), seed=seed) for seed in (0, 7))
    task = (
        AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    )
    tuned = tiny.make_tuned(base, tmp_path / "tuned", task=task)
    assert open_fine_tuned(base, tuned).likeness.fine_tuned
    assert not open_fine_tuned(other, tuned).likeness.fine_tuned


def test_who_insists_gets_the_bundle_and_a_line(
    models: Path, foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = models / "out.osd.safetensors"
    words = ("--base", models / "base", "--tuned", foreign, "--method", "truncsvd", "-o", out)
    result = run_cli(capsys, "export", "task", *words)
    assert result.code == 1 and "[model.foreign]" in result.err and not out.exists()
    result = run_cli(capsys, "export", "task", *words, "--any-base")
    assert result.code == 0 and out.is_file()
    assert "not fine-tuned from this base" in result.out and "for linear layers" in result.out
    report = export_task(models / "base", foreign, out, any_base=True, **QUICK)
    assert report.foreign and set(report.likeness) == {"linear layers", "embeddings"}
    assert max(report.likeness.values()) < LEAST


def test_a_model_of_the_base_needs_no_insisting(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = models / "out.osd.safetensors"
    report = export_task(models / "base", models / "first", out, **QUICK)
    assert not report.foreign and min(report.likeness.values()) > 0.5
    words = ("--base", models / "base", "--tuned", models / "first", "--method", "truncsvd")
    assert "not fine-tuned" not in run_cli(capsys, "export", "task", *words, "-o", out).out


def test_embeddings_of_another_base_alone_are_refused(models: Path, foreign: Path) -> None:
    def exchange(tensors: Tensors) -> None:
        table = "bert.embeddings.word_embeddings.weight"
        generator = torch.Generator().manual_seed(5)
        tensors[table] = torch.randn(tensors[table].shape, generator=generator)

    spoil(models / "first" / "model.safetensors", exchange)
    found = open_fine_tuned(models / "base", models / "first").likeness
    assert found.linear is not None and found.linear > 0.5
    assert not found.fine_tuned


def test_some_layers_that_were_drawn_anew_are_fine_tuning(models: Path) -> None:
    def redraw(tensors: Tensors) -> None:
        names = [f"bert.{QUERY}.weight", "bert.encoder.layer.1.output.dense.weight"]
        for name in names:
            tensors[name] = torch.randn(tensors[name].shape)

    spoil(models / "first" / "model.safetensors", redraw)
    assert open_fine_tuned(models / "base", models / "first").likeness.fine_tuned


def test_an_adapter_is_of_its_base_however_large_it_is(models: Path) -> None:
    adapters: list[tuple[str | Path, float]] = [(models / "adapter", 500.0)]
    found = open_fine_tuned(models / "base", None, adapters=adapters).likeness
    assert found.linear is None and found.embedding is None and found.fine_tuned


def test_a_comparison_refuses_it_too(models: Path, foreign: Path, tiny_models: Path) -> None:
    rows = read_examples(tiny_models / "examples.tsv")
    job = MethodComparison(models / "base", foreign, rows, rows, grid(["lora"], ["20KiB"]), probe=0)
    assert refusal(lambda: compare(job, models / "out"))[0] == "model.foreign"


def test_any_base_is_true_or_false() -> None:
    with pytest.raises(InputError) as caught:
        TaskOptions(base="base", tuned="tuned", any_base="yes")  # type: ignore[arg-type]
    assert caught.value.code == "input.options" and "any_base" in str(caught.value)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_real_models_are_far_from_being_refused(name: str) -> None:
    tuned = require_shared() / "checkpoints" / name
    found = open_fine_tuned(minilm_folder(), tuned).likeness
    assert found.linear is not None and found.linear > 0.998
    assert found.embedding is not None and found.embedding > 0.9999


# The base that an adapter names


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (None, ()),
        ("", ()),
        ("bert-tiny", ()),
        ("Someone/BERT-tiny", ()),
        ("/home/someone/models/bert-tiny/", ()),
        (r"C:\models\bert-tiny", ()),
        ("base", ()),  # the folder's own name
        ("someone/other", ("someone/other",)),
        ("/home/someone/other", ("/home/someone/other",)),
    ],
)
def test_another_base_that_an_adapter_names_is_told(
    models: Path, named: str | None, told: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    edit(models / "base" / "config.json", _name_or_path="google/bert-tiny")
    shutil.rmtree(models / "adapter")
    write_adapter(models / "adapter", base_model_name_or_path=named)
    out = models / "out.osd.safetensors"
    adapters = [(models / "adapter", 1.0)]
    report = export_task(models / "base", None, out, adapters=adapters, **QUICK)
    assert tuple(report.adapter_bases) == told
    words = ("--base", models / "base", "--adapter", models / "adapter", "--method", "truncsvd")
    said = run_cli(capsys, "export", "task", *words, "-o", out).out
    assert ("by its own word" in said) == bool(told) and all(name in said for name in told)


def test_the_name_of_a_hubs_cache_is_one_of_the_base(models: Path) -> None:
    snapshot = models / "hub" / "models--google--bert-tiny" / "snapshots" / "0123abcd"
    shutil.copytree(models / "base", snapshot)
    shutil.rmtree(models / "adapter")
    write_adapter(models / "adapter", base_model_name_or_path="google/bert-tiny")
    adapters = [(models / "adapter", 1.0)]
    out = models / "out.osd.safetensors"
    assert not export_task(snapshot, None, out, adapters=adapters, **QUICK).adapter_bases


def test_the_folder_that_a_command_is_in_has_its_name(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(models / "adapter")
    write_adapter(models / "adapter", base_model_name_or_path="someone/base")
    monkeypatch.chdir(models / "base")
    adapters: list[tuple[str | Path, float]] = [(models / "adapter", 1.0)]
    out = models / "out.osd.safetensors"
    assert not export_task(".", None, out, adapters=adapters, **QUICK).adapter_bases
