"""Adapters that are damaged, hostile or merely odd: refused by their cause."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from osd_edge.errors import InputError, ModelError
from osd_edge.exporters.models import peft_adapter
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.peft_adapter import own_alphas, read_adapter
from tests.support import tiny
from tests.support.checkpoints import QUERY, adapting, refusal, write_adapter
from tests.support.spoiled import Tensors, edit, spoil

SLOW = r"(.*)(.*)(.*)(.*)\3\4\5[^x.]"  # as a key: PEFT puts two groups around it


def test_an_adapters_labels_are_named_for_where_they_came_from(models: Path) -> None:
    for labels in (["a", "a", "b"], ["a", "", "b"], ["a", "b", "\udcff"]):
        with pytest.raises(InputError, match="--labels") as caught:
            adapting(models, labels=labels)()
        assert caught.value.code == "input.labels"


def test_an_adapter_of_another_library_is_told_for_what_it_is(models: Path) -> None:
    config = models / "adapter" / "adapter_config.json"
    adapting(models)()
    config.write_text('{"config": {"reduction_factor": 16}, "model_class": "BertAdapterModel"}')
    code, message = refusal(adapting(models))
    assert code == "model.adapter-method" and "no peft_type" in message and "peft" in message


def adapter_tensors(models: Path, change: Callable[[Tensors], object]) -> tuple[str, str]:
    """How an adapter whose tensors are changed is refused; names are without PEFT's prefix."""
    path, prefix = models / "adapter" / "adapter_model.safetensors", "base_model.model."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}
    change(tensors)
    save_file({prefix + name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return refusal(adapting(models))


A, B, M = (
    f"bert.{QUERY}.{part}" for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
)


@pytest.mark.parametrize(
    "name",
    [
        "classifier.scale",
        "foo.bar",
        "bert.encoder.layer.0.foo.weight",
        "bert.encoder.layer.9.output.dense.bias",
    ],
)
def test_tensors_that_an_adapter_of_this_base_has_not(models: Path, name: str) -> None:
    code, message = adapter_tensors(models, lambda t: t.update({name: torch.ones(2)}))
    assert code == "model.adapter-method" and name.removeprefix("bert.") in message


def test_a_bias_for_a_layer_without_one(tmp_path: Path) -> None:
    base = tiny.make_base("modernbert", tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", head=False)
    layer = "base_model.model.model.layers.0.attn.Wo"
    save_file(
        {
            f"{layer}.lora_A.weight": torch.ones(2, 32),
            f"{layer}.lora_B.weight": torch.ones(32, 2),
            f"{layer}.lora_B.bias": torch.ones(32),
            "base_model.model.classifier.weight": torch.ones(3, 32),
        },
        adapter / "adapter_model.safetensors",
    )
    code, message = refusal(lambda: open_fine_tuned(base, None, adapters=[(adapter, 1.0)]))
    assert code == "model.adapter-method" and "layers.0.attn.Wo" in message


@pytest.mark.parametrize("name", [A, "classifier.weight", M])
@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn])
def test_parts_that_are_no_floats(models: Path, name: str, dtype: torch.dtype) -> None:
    code, message = adapter_tensors(
        models, lambda t: t.update({name: t.get(name, torch.ones(32)).to(dtype)})
    )
    assert code == "model.quantised" and str(dtype) in message


@pytest.mark.parametrize(
    "parts",
    [
        {M: (1,)},
        {M: (3,)},
        {A: (0, 32), B: (32, 0)},
        {A: (3, 32)},
        {A: (32,)},
        {B: (32, 32)},  # as if it were the difference itself
        {f"bert.{QUERY}.lora_B.bias": (1,)},
    ],
)
def test_parts_of_shapes_that_do_not_fit(models: Path, parts: dict[str, tuple[int, ...]]) -> None:
    code, message = adapter_tensors(
        models, lambda t: t.update({name: torch.ones(shape) for name, shape in parts.items()})
    )
    assert code == "model.adapter" and QUERY in message


@pytest.mark.parametrize(
    "changes",
    [
        {"task_type": []},
        {"task_type": {}},
        {"lora_alpha": float("nan")},
        {"alpha_pattern": {"query": float("inf")}},
        {"alpha_pattern": {"quer(y": 2}},
        {"alpha_pattern": {r"(.*)\9": 2}},
        {"alpha_pattern": ["query"]},
        {"alpha_pattern": {"q" * 1001: 2}},
    ],
)
def test_settings_that_are_malformed(models: Path, changes: dict[str, object]) -> None:
    edit(models / "adapter" / "adapter_config.json", **changes)
    assert refusal(adapting(models))[0] == "model.adapter"


@pytest.mark.parametrize(
    "pattern",
    [
        "([a-z.0-9]+)+!",
        "(e|e.|.)" * 40 + "!",
        "a?" * 40 + "!",
        "(?x)([a-z.0-9] +) +!",
        ("(" + "|" * 20 + ")") * 3 + ".*.*.*!",
        SLOW,
    ],
)
def test_patterns_that_might_take_years_end(models: Path, pattern: str) -> None:
    edit(models / "adapter" / "adapter_config.json", alpha_pattern={pattern: 2})
    try:
        read_adapter(models / "adapter")
    except ModelError as refused:
        assert refused.code == "model.adapter" and "too long to match" in str(refused)


def test_a_pattern_that_takes_too_long_is_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peft_adapter, "_SECONDS", 0.05)
    with pytest.raises(ValueError, match="too long to match"):
        own_alphas({SLOW: 2}, ["x." * 128])


@pytest.mark.parametrize("name", ["x." * 200 + "query", "module." * 30_000 + "x"])
def test_modules_of_endless_names(models: Path, name: str) -> None:
    parts = {f"{name}.lora_A.weight": (2, 32), f"{name}.lora_B.weight": (32, 2)}
    code, message = adapter_tensors(
        models, lambda t: t.update({part: torch.ones(shape) for part, shape in parts.items()})
    )
    assert code == "model.adapter" and len(message) < 500


def test_an_adapters_settings_nested_without_end(models: Path) -> None:
    (models / "adapter" / "adapter_config.json").write_text("[" * 100_000)
    assert refusal(adapting(models))[0] == "model.adapter"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("query", True),
        ("self.query", True),
        ("elf.query", False),
        ("uery", False),
        (f"^bert.{QUERY}", True),
        (f"^{QUERY}", False),
        (r".*\.layer\.[0-3]\..*\.(query|key)", True),
        (r"layer\.(?:1|2\d*)\.attention.*", False),
        (r"layer\.\d+\.attention\.self\.[^k]\w{3,5}$", True),
        ("quer[x-z]?y{0,1}", True),
        ("value|query", True),
        ("(?!value).*query", True),
    ],
)
def test_patterns_match_as_pefts_do(pattern: str, matches: bool) -> None:
    module = f"bert.{QUERY}"
    assert bool(re.match(rf"(.*\.)?({pattern})$", module)) is matches
    assert own_alphas({pattern: 2}, [module]) == ({module: 2.0} if matches else {})


def test_the_head_is_the_first_adapters_that_has_one(models: Path) -> None:
    write_adapter(models / "domain", head=False, seed=1, task_type="FEATURE_EXTRACTION")
    write_adapter(models / "other", seed=2)
    weights = load_file(models / "adapter" / "adapter_model.safetensors")
    pair = adapting(models, ["domain", "adapter", "other"])()
    assert pair.head.kind == "labels" and len(pair.labels) == 3
    assert pair.tuned.folder == models / "adapter"
    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(pair.tuned.float32(name), weights[f"base_model.model.{name}"])


def test_no_head_is_mixed_from_several(models: Path) -> None:
    write_adapter(models / "other", seed=2)
    spoil(
        models / "adapter" / "adapter_model.safetensors",
        lambda t: t.pop("base_model.model.classifier.bias"),
    )
    assert "classifier.bias" not in adapting(models, ["adapter", "other"])().tuned


def test_adapters_without_any_head(models: Path) -> None:
    write_adapter(models / "one", head=False)
    write_adapter(models / "two", head=False, task_type="FEATURE_EXTRACTION")
    with pytest.raises(ModelError, match="came without a head"):
        adapting(models, ["one", "two"])()
