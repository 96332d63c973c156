"""Adapters in: each way of making one, against the model that PEFT itself merges."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification

from osd_edge.errors import InputError, ModelError
from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED
from osd_edge.runtime import EdgeSession
from tests.support import tiny

QUERY_VALUE = ["query", "value"]
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("bert", {"target_modules": QUERY_VALUE}),
    "rank-stabilised": ("bert", {"target_modules": QUERY_VALUE, "use_rslora": True, "r": 5}),
    "patterns": (
        "roberta",
        {
            "target_modules": ["query", "intermediate.dense"],
            "rank_pattern": {"layer.0.attention.self.query": 2, "intermediate.dense": 6},
            "alpha_pattern": {"layer.1.attention.self.query": 3},
        },
    ),
    "dora": ("bert", {"target_modules": QUERY_VALUE, "use_dora": True}),
    "biases": ("bert", {"target_modules": QUERY_VALUE, "bias": "all", "lora_bias": False}),
    "lora-bias": ("bert", {"target_modules": QUERY_VALUE, "lora_bias": True}),
    "embeddings": ("bert", {"target_modules": ["query", "word_embeddings"]}),
    "whole-modules": (
        "bert",
        {"target_modules": ["query"], "modules_to_save": ["classifier", "0.intermediate.dense"]},
    ),
    "dora-embeddings": (
        "bert",
        {"target_modules": ["query", "word_embeddings"], "use_dora": True},
    ),
    "all-linear-but-some": (
        "roberta",
        {"target_modules": "all-linear", "exclude_modules": r".*output\.dense", "use_dora": True},
    ),
    "some-layers": (
        "electra",
        {"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": "layer"},
    ),
    "orthogonal": (
        "albert",
        {"target_modules": QUERY_VALUE, "init_lora_weights": "orthogonal", "r": 4},
    ),
    "rank-stabilised-patterns": (
        "gpt2",
        {
            "target_modules": ["c_attn", "c_proj"],
            "fan_in_fan_out": True,
            "use_rslora": True,
            "rank_pattern": {"c_proj": 2},
            "alpha_pattern": {r"h\.1\.attn\.c_attn": 3},
        },
    ),
    "conv1d": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "conv1d-dora": (
        "gpt2",
        {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True},
    ),
}


def classifier(base: Path, labels: int = 3) -> Any:
    torch.manual_seed(5)
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels).eval()


def make_adapter(base: Path, folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Save a PEFT adapter of a classifier over `base` with random values in all its tensors."""
    chosen = {"r": 3, "lora_alpha": 7, "task_type": TaskType.SEQ_CLS} | settings
    model = get_peft_model(classifier(base), LoraConfig(**chosen))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    with warnings.catch_warnings():
        # PEFT takes the bias of lora_B, which has one dimension, for a tensor cut by sharding.
        warnings.filterwarnings("ignore", "Adapter 'default': .* invalid shape")
        model.save_pretrained(folder)
    return folder


def merged(base: Path, folder: Path) -> Any:
    """What PEFT makes of the adapter, merged into the base's classifier."""
    return PeftModel.from_pretrained(classifier(base), folder).merge_and_unload().eval()


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and an adapter."""
    folder = tmp_path_factory.mktemp(request.param)
    family, settings = WAYS[request.param]
    tiny.make_base(family, folder / "base")
    make_adapter(folder / "base", folder / "adapter", **settings)
    return folder


def test_every_weight_is_the_one_that_peft_merges(way: Path) -> None:
    pair = open_fine_tuned(way / "base", None, adapters=[(way / "adapter", 1.0)])
    expected = dict(merged(way / "base", way / "adapter").named_parameters())
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    with model.at(TUNED) as module:
        ours = dict(module.named_parameters())
    assert len(ours) > 10
    for name, parameter in ours.items():
        theirs = expected[name]
        if pair.tuned.is_transposed(name.removeprefix(f"{pair.tuned.prefix}.")):
            theirs = theirs.T
        torch.testing.assert_close(parameter, theirs, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, its package, a LoRA adapter and a DoRA adapter."""
    folder = tmp_path_factory.mktemp("two")
    tiny.make_base("bert", folder / "base")
    export_base(folder / "base", folder / "package")
    for seed, name in enumerate(("one", "other")):
        make_adapter(
            folder / "base",
            folder / name,
            seed=seed,
            target_modules=QUERY_VALUE,
            use_dora=name == "other",
        )
    return folder


def test_a_device_answers_as_the_merged_model(two: Path, tmp_path: Path) -> None:
    path = tmp_path / "task.osd.safetensors"
    report = export_task(
        two / "base",
        None,
        path,
        method="truncsvd",
        budget="r=64",
        head=HeadOptions(values="fp32"),
        adapters=[(two / "one", 1.0)],
        labels=["red", "green", "blue"],
    )
    assert report.adapter_size == (two / "one" / "adapter_model.safetensors").stat().st_size
    assert report.sites == 4
    session = EdgeSession(two / "package", threads=1)
    session.activate(session.load(path))
    texts = tiny.sentences(5, seed=4)
    tokens = tiny.tokens_of(two / "base", texts, session.manifest.inputs)
    with torch.inference_mode():
        expected = merged(two / "base", two / "one")(**tokens).logits.numpy()
    logits = session.run(session.encode(texts)).logits
    assert logits is not None and np.abs(logits - expected).max() <= 1e-4
    assert session.labels("task") == ("red", "green", "blue")


def test_several_adapters_add_up_with_their_weights(two: Path) -> None:
    adapters: list[tuple[str | Path, float]] = [(two / "one", 0.7), (two / "other", -0.4)]
    pair = open_fine_tuned(two / "base", None, adapters=adapters)
    base = dict(classifier(two / "base").named_parameters())
    one, other = (
        dict(merged(two / "base", two / name).named_parameters()) for name in ("one", "other")
    )
    name = "bert.encoder.layer.0.attention.self.query.weight"
    expected = base[name] + 0.7 * (one[name] - base[name]) - 0.4 * (other[name] - base[name])
    torch.testing.assert_close(pair.tuned.float32(name), expected, rtol=1e-5, atol=1e-6)
    # The head is the first adapter's.
    torch.testing.assert_close(pair.tuned.float32("classifier.weight"), one["classifier.weight"])


def refused(two: Path, adapter: Path, labels: list[str] | None = None) -> str:
    with pytest.raises((ModelError, InputError)) as caught:
        open_fine_tuned(two / "base", None, adapters=[(adapter, 1.0)], labels=labels)
    return caught.value.code


def test_what_is_no_weight_difference_is_refused(two: Path, tmp_path: Path) -> None:
    prompt = PromptTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=2)
    get_peft_model(classifier(two / "base"), prompt).save_pretrained(tmp_path / "prompt")
    assert refused(two, tmp_path / "prompt") == "model.adapter-method"
    make_adapter(
        two / "base", tmp_path / "pissa", target_modules=QUERY_VALUE, init_lora_weights="pissa"
    )
    assert refused(two, tmp_path / "pissa") == "model.adapter-method"
    make_adapter(
        two / "base",
        tmp_path / "tokens",
        target_modules=QUERY_VALUE,
        trainable_token_indices={"word_embeddings": [1, 2]},
    )
    assert refused(two, tmp_path / "tokens") == "model.adapter-method"


def test_what_is_no_adapter_of_this_base_is_refused(two: Path, tmp_path: Path) -> None:
    assert refused(two, two / "base") == "model.adapter"
    wider = tiny.make_base("bert", tmp_path / "wider", hidden_size=64)
    make_adapter(wider, tmp_path / "adapter", target_modules=QUERY_VALUE)
    assert refused(two, tmp_path / "adapter") == "model.adapter"
    other = tiny.make_base("distilbert", tmp_path / "distilbert")
    make_adapter(other, tmp_path / "other", target_modules=["q_lin"])
    assert refused(two, tmp_path / "other") == "model.adapter"
    assert refused(two, two / "one", ["yes", "no"]) == "input.labels"
    make_adapter(two / "base", tmp_path / "headless", target_modules=QUERY_VALUE, task_type=None)
    assert refused(two, tmp_path / "headless") == "model.head"
