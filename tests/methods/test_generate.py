"""Tasks that generate text: every method that needs no training, and what is refused instead."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from osd_edge.errors import OsdEdgeError
from osd_edge.exporters import TaskReport, export_task
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.bundle.reader import read_bundle_file
from tests.support import decoders, tiny
from tests.support.command_line import run_cli

FP16 = 2**-10  # of a value, which both of its factors were rounded to


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a model fine-tuned from it and a LoRA adapter of rank 3."""
    folder = tmp_path_factory.mktemp("generate")
    decoders.make_decoder("llama", folder / "base")
    decoders.make_tuned(folder / "base", folder / "tuned")
    decoders.make_lora(folder / "base", folder / "lora")
    return folder


def lora(models: Path) -> list[tuple[str | Path, float]]:
    return [(models / "lora", 1.0)]


def worst(bundle: Bundle, pair: FineTuned) -> float:
    """The largest relative error of a site's delta in the bundle."""
    errors = []
    for site in bundle.sites:
        name = f"{pair.backbone.layers[site.site].name}.weight"
        delta = pair.tuned.float32(name) - pair.backbone.checkpoint.float32(name)
        u, v = (torch.from_numpy(factor) for factor in site.decode())
        errors.append(float((u.T @ v - delta).norm() / delta.norm()))
    assert len(errors) == len(pair.backbone.layers)
    return max(errors)


@pytest.mark.parametrize(("values", "bound"), [("fp32", 1e-5), ("fp16", FP16)])
def test_the_rank_of_a_lora_gives_it_back(
    models: Path, tmp_path: Path, values: str, bound: float
) -> None:
    """A rank of 3: its bytes are three columns of fp32, and six of fp16."""
    path = tmp_path / "t.osd.safetensors"
    rank = {"fp32": "r=3", "fp16": "r=1.5"}[values]
    report = export_task(
        models / "base",
        None,
        path,
        adapters=lora(models),
        method="truncsvd",
        budget=rank,
        values=values,
    )
    pair = open_fine_tuned(models / "base", None, adapters=lora(models))
    bundle = read_bundle_file(path)
    assert worst(bundle, pair) <= bound
    assert (bundle.head.kind, bundle.head.pooling) == ("generate", "logits")
    assert (bundle.head.layers, bundle.labels) == ((), ())
    assert bundle.base == pair.fingerprint and bundle.site_count == 14
    assert all(site.k == 3 for site in bundle.sites)
    assert report.kind == "generate" and report.sites == 14 and report.left_out == {}
    assert report.compressed is None and report.calibration_examples == 0


@pytest.mark.parametrize("method", ["truncsvd", "osd-rd"])
def test_adapters_have_the_columns_of_their_ranks_and_no_more(
    models: Path, tmp_path: Path, method: str
) -> None:
    """A bundle holds nothing of the rounding of W + ΔW, which is of every rank, at any budget."""
    decoders.make_lora(models / "base", tmp_path / "other", seed=3, r=4)
    both: list[tuple[str | Path, float]] = [*lora(models), (tmp_path / "other", -0.5)]
    path = tmp_path / "t.osd.safetensors"
    budget = "r=64" if method == "truncsvd" else 1 << 20
    export_task(models / "base", None, path, adapters=both, method=method, budget=budget)
    bundle = read_bundle_file(path)
    assert {site.k for site in bundle.sites} == {3 + 4}
    pair = open_fine_tuned(models / "base", None, adapters=both)
    # The default method has one step for all sites, bounded by integers of twelve bits.
    assert worst(bundle, pair) <= (1e-5 if method == "truncsvd" else 0.05)


def test_an_adapter_that_is_more_than_a_product_is_decomposed_whole(
    models: Path, tmp_path: Path
) -> None:
    """DoRA scales the rows of the base's weight too, so its difference has every rank."""
    decoders.make_lora(models / "base", tmp_path / "dora", use_dora=True)
    adapters: list[tuple[str | Path, float]] = [*lora(models), (tmp_path / "dora", 1.0)]
    path = tmp_path / "t.osd.safetensors"
    export_task(models / "base", None, path, adapters=adapters, method="truncsvd", budget="r=64")
    bundle = read_bundle_file(path)
    assert min(site.k for site in bundle.sites) > 6
    pair = open_fine_tuned(models / "base", None, adapters=adapters)
    assert worst(bundle, pair) <= 1e-5


@pytest.mark.parametrize("family", decoders.DECODERS)
def test_full_rank_gives_every_family_back(tmp_path: Path, family: str) -> None:
    decoders.make_decoder(family, tmp_path / "base")
    decoders.make_tuned(tmp_path / "base", tmp_path / "tuned")
    path = tmp_path / "t.osd.safetensors"
    export_task(tmp_path / "base", tmp_path / "tuned", path, method="truncsvd", budget="r=64")
    pair = open_fine_tuned(tmp_path / "base", tmp_path / "tuned")
    assert worst(read_bundle_file(path), pair) <= 1e-5


@pytest.mark.parametrize("method", ["osd-rd", "truncsvd", "magtruncsvd"])
def test_more_bytes_are_nearer_to_the_delta(models: Path, tmp_path: Path, method: str) -> None:
    pair = open_fine_tuned(models / "base", None, adapters=lora(models))
    errors = []
    for size in (12 * 1024, 48 * 1024):
        path = tmp_path / f"{size}.osd.safetensors"
        report = export_task(
            models / "base", None, path, adapters=lora(models), method=method, budget=size
        )
        assert report.size <= size and report.kind == "generate"
        assert report.refine == ("none" if method == "osd-rd" else None)
        bundle = read_bundle_file(path)
        errors.append(
            sum(
                float((torch.from_numpy(u.T @ v) - delta).square().sum())
                for site in bundle.sites
                for u, v in [site.decode()]
                for name in [f"{pair.backbone.layers[site.site].name}.weight"]
                for delta in [pair.tuned.float32(name) - pair.backbone.checkpoint.float32(name)]
            )
        )
    assert errors[1] < 0.5 * errors[0]


def test_the_default_method_needs_nothing_but_the_models(models: Path, tmp_path: Path) -> None:
    report = export_task(models / "base", models / "tuned", tmp_path / "t.osd.safetensors")
    assert (report.method, report.refine, report.kind) == ("osd-rd", "none", "generate")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"calibration": "rows"}, "data.completion", "--complete TOKENS"),
    ({"calibration": "rows", "method": "osd"}, "data.completion", "row 1"),
    ({"calibration": "rows", "complete": 4, "method": "head"}, "input.options", "no head"),
    ({"method": "head"}, "data.calibration-needed", "leave out --method head"),
    ({"method": "osd"}, "data.labels-needed", "osd-rd needs no labels"),
    ({"refine": "scales"}, "data.calibration-needed", "--refine none"),
    ({"keep": 0.9}, "data.calibration-needed", "--keep"),
    ({"kind": "labels"}, "model.head", "score.weight"),
    ({"budget": 300}, "budget.too-small", "the smallest bundle of this task"),
]


@pytest.mark.parametrize(("options", "code", "words"), REFUSED)
def test_what_is_not_for_generation_says_what_to_do(
    models: Path, tmp_path: Path, options: dict[str, Any], code: str, words: str
) -> None:
    if "calibration" in options:
        options = options | {"calibration": tiny.write_tsv(tmp_path / "rows.tsv")}
    with pytest.raises(OsdEdgeError) as caught:
        export_task(models / "base", models / "tuned", tmp_path / "t.osd.safetensors", **options)
    message = str(caught.value)
    assert caught.value.code == code and words in message and len(message) < 400
    assert "of which its head" not in message  # it has none
    assert not list(tmp_path.glob("*.osd.safetensors"))


def test_an_encoder_does_not_generate(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base")
    tiny.make_tuned(tmp_path / "base", tmp_path / "tuned")
    with pytest.raises(OsdEdgeError) as caught:
        export_task(
            tmp_path / "base", tmp_path / "tuned", tmp_path / "t.osd.safetensors", kind="generate"
        )
    assert caught.value.code == "model.head" and "do not generate text" in str(caught.value)


@pytest.fixture(scope="module")
def moved(models: Path) -> Path:
    """The fine-tuned model with another embedding and other norms, which no bundle has."""
    model = AutoModelForCausalLM.from_pretrained(models / "tuned")
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(1.25)
        model.model.norm.weight.mul_(0.5)
    model.save_pretrained(models / "moved")
    tiny.save_tokenizer(models / "moved")
    return models / "moved"


def test_the_command_says_what_is_left_out(
    models: Path, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, out = models / "base", tmp_path / "t.osd.safetensors"

    def told(tuned: Path, *more: str) -> str:
        command = ("export", "task", "--base", base, "--tuned", tuned, "-o", out, *more)
        result = run_cli(capsys, *command)
        assert result.code == 0
        return result.out

    lines = told(moved).splitlines()
    assert "header" in lines[2] and "head and" not in lines[2]
    assert lines[-3:-1] == [
        "  not measured: give --calibration to see what the compression costs",
        "  left out, as the base has it: norm.weight (changed by 50.0 %), "
        "embed_tokens.weight (changed by 25.0 %)",
    ]
    assert "left out" not in told(models / "tuned")
    report = json.loads(told(moved, "--json"))
    assert report["kind"] == "generate" and set(report) >= set(TaskReport.__dataclass_fields__)
    assert report["left_out"] == pytest.approx({"norm.weight": 0.5, "embed_tokens.weight": 0.25})
    own, tuned = (load_file(one / "model.safetensors") for one in (base, moved))
    changes = {name: float((tuned[name] - own[name]).norm()) for name in own}
    parts = [name for name in own if "norm" in name or "embed" in name]
    beside = math.hypot(*(changes.pop(name) for name in parts)) / math.hypot(*changes.values())
    assert report["left_out_beside_delta"] == pytest.approx(beside, rel=1e-4) and beside > 0.1
    assert lines[-1] == f"    together {100 * beside:.1f} % of the size of the linear layers' delta"
