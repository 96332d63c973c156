"""Checkpoints and adapters that are damaged, hostile or merely odd: refused by their cause."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from osd_edge.errors import InputError, ModelError, OsdEdgeError
from osd_edge.exporters import export_base
from osd_edge.exporters.models.checkpoint import Checkpoint, find_model
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.peft_adapter import pattern_matches
from tests.support import tiny
from tests.support.command_line import run_cli

Tensors = dict[str, torch.Tensor]
QUERY = "encoder.layer.0.attention.self.query"
CODE = "from pathlib import Path\nPath({!r}).touch()\nclass Own: pass\n"


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of base and fine-tuned model, and an adapter, that a test may spoil."""
    for name in ("base", "first"):
        shutil.copytree(tiny_models / name, tmp_path / name)
    write_adapter(tmp_path / "adapter")
    return tmp_path


def write_adapter(folder: Path, *, head: bool = True, seed: int = 0, **settings: Any) -> Path:
    """A LoRA adapter of the base's first query layer as PEFT writes it, with a head of 3 labels."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    tensors = {
        f"bert.{QUERY}.lora_A.weight": random(2, 32),
        f"bert.{QUERY}.lora_B.weight": random(32, 2),
    }
    if head:
        tensors |= {"classifier.weight": random(3, 32), "classifier.bias": random(3)}
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "task_type": "SEQ_CLS"} | settings
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def spoil(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    """Code and message with which `action` is refused."""
    with pytest.raises(OsdEdgeError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return caught.value.code, message


def opening(models: Path) -> Callable[[], object]:
    return lambda: open_fine_tuned(models / "base", models / "first")


def adapting(
    models: Path, names: Iterable[str] = ("adapter",), labels: list[str] | None = None
) -> Callable[[], Any]:
    adapters: list[tuple[str | Path, float]] = [(models / name, 1.0) for name in names]
    return lambda: open_fine_tuned(models / "base", None, adapters=adapters, labels=labels)


def test_the_untouched_ones_are_taken(models: Path) -> None:
    opening(models)()
    assert adapting(models, labels=["a", "b", "c"])().labels == ("a", "b", "c")


# A model's own code


def test_a_models_own_code_never_runs(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a prompt"))
    ran = models / "ran"
    (models / "first" / "own.py").write_text(CODE.format(str(ran)))
    config = models / "first" / "config.json"
    before = config.read_text()
    edit(config, model_type="own", auto_map={"AutoConfig": "own.Own"})
    code, message = refusal(opening(models))
    assert code == "model.family" and "auto_map" in message
    config.write_text(before)
    edit(
        models / "first" / "tokenizer_config.json",
        tokenizer_class="Own",
        auto_map={"AutoTokenizer": ["own.Own", "own.Own"]},
    )
    code, message = refusal(opening(models))
    assert code == "model.tokenizer" and "auto_map" in message
    assert not ran.exists()


def test_a_known_model_with_code_beside_it_is_read_without(models: Path) -> None:
    (models / "first" / "own.py").write_text(CODE.format(str(models / "ran")))
    edit(models / "first" / "config.json", auto_map={"AutoConfig": "own.Own"})
    opening(models)()
    assert not (models / "ran").exists()


# Heads


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("classifier.weight", (3, 31)),
        ("classifier.weight", (96,)),
        ("classifier.weight", ()),
        ("classifier.weight", (0, 32)),
        ("classifier.bias", (2,)),
        ("classifier.bias", (1, 3)),
    ],
)
def test_heads_of_another_shape(models: Path, name: str, shape: tuple[int, ...]) -> None:
    spoil(models / "first" / "model.safetensors", lambda t: t.update({name: torch.ones(shape)}))
    code, message = refusal(opening(models))
    assert code == "model.shape" and name in message and str(list(shape)) in message
    key = f"base_model.model.{name}"
    spoil(
        models / "adapter" / "adapter_model.safetensors",
        lambda t: t.update({key: torch.ones(shape)}),
    )
    code, message = refusal(adapting(models))
    assert code == "model.shape" and name in message and str(list(shape)) in message


def test_a_layer_of_a_head_takes_what_the_one_before_gives(tmp_path: Path) -> None:
    base = tiny.make_base("distilbert", tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned")
    spoil(
        tuned / "model.safetensors",
        lambda t: t.update(
            {"pre_classifier.weight": torch.ones(24, 32), "pre_classifier.bias": torch.ones(24)}
        ),
    )
    code, message = refusal(lambda: open_fine_tuned(base, tuned))
    assert code == "model.shape" and "classifier.weight" in message and "[outputs, 24]" in message


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"0": "a", "1": "b", "5": "c"}, "none for output 2"),
        ({"0": "a", "1": "b", "2": "\ud800"}, "not text"),
        ({"0": "a", "1": "a", "2": "b"}, "'a' is there twice"),
    ],
)
def test_labels_that_no_bundle_can_have(models: Path, labels: dict[str, str], words: str) -> None:
    edit(models / "first" / "config.json", id2label=labels)
    code, message = refusal(opening(models))
    assert code == "model.head" and "id2label" in message and words in message


def test_an_adapters_labels_are_named_for_where_they_came_from(models: Path) -> None:
    for labels in (["a", "a", "b"], ["a", "", "b"], ["a", "b", "\udcff"]):
        with pytest.raises(InputError, match="--labels") as caught:
            adapting(models, labels=labels)()
        assert caught.value.code == "input.labels"


@pytest.mark.parametrize("names", [[3], "BertForSequenceClassification"])
def test_architectures_that_are_no_list_of_names(models: Path, names: object) -> None:
    edit(models / "first" / "config.json", architectures=names)
    assert refusal(opening(models))[0] == "model.config"


# Configurations


@pytest.mark.parametrize("layers", [1, 9])
@pytest.mark.parametrize(
    ("family", "name"),
    [("bert", "num_hidden_layers"), ("distilbert", "n_layers"), ("gpt2", "n_layer")],
)
def test_another_number_of_layers(tmp_path: Path, family: str, name: str, layers: int) -> None:
    base = tiny.make_base(family, tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned")
    edit(tuned / "config.json", **{name: layers})
    code, message = refusal(lambda: open_fine_tuned(base, tuned))
    assert code == "model.architecture" and f"{layers}, the base has 2" in message


def test_a_configuration_of_other_sizes_than_its_weights(models: Path) -> None:
    edit(models / "first" / "config.json", max_position_embeddings=32)
    code, message = refusal(opening(models))
    assert code == "model.architecture" and "position_embeddings" in message
    edit(models / "first" / "config.json", hidden_size=None)
    assert refusal(opening(models))[0] == "model.config"


@pytest.mark.parametrize("settings", ["gptq", [1]])
def test_quantisation_of_an_unknown_form(models: Path, settings: object) -> None:
    edit(models / "first" / "config.json", quantization_config=settings)
    assert refusal(opening(models))[0] == "model.quantised"


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, "\udcff"])
def test_a_configuration_that_is_none(models: Path, text: str) -> None:
    (models / "first" / "config.json").write_text(text, errors="surrogateescape")
    assert refusal(opening(models))[0] == "model.config"


def test_types_of_models_that_nobody_knows(models: Path) -> None:
    path = models / "first" / "config.json"
    edit(path, model_type="zzz")
    code, message = refusal(opening(models))
    assert code == "model.family" and "zzz" in message
    path.write_text("{}")
    code, message = refusal(opening(models))
    assert code == "model.config" and "model_type" in message


def test_folders_of_something_else(
    models: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_cli(capsys, "export", "base", tiny_base, "-o", models / "out")
    assert result.code == 1 and "is a base package: give the Hugging Face" in result.err
    assert "[model.config]" in result.err
    assert "is a PEFT adapter" in refusal(lambda: Checkpoint(models / "adapter"))[1]
    (models / "empty").mkdir()
    assert "no config.json" in refusal(lambda: Checkpoint(models / "empty"))[1]


def test_folders_that_cannot_be_opened(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(lambda: find_model("x" * 300))[0] == "model.missing"
    assert refusal(lambda: find_model(str(models / ("x" * 300))))[0] == "model.missing"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    code, message = refusal(lambda: find_model(str(models / "first")))
    assert code == "model.missing" and "Permission denied" in message


# Weights


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bool])
def test_weights_in_a_few_bits(models: Path, dtype: torch.dtype) -> None:
    name = f"bert.{QUERY}.weight"
    spoil(models / "first" / "model.safetensors", lambda t: t.update({name: t[name].to(dtype)}))
    code, message = refusal(opening(models))
    assert code == "model.quantised" and str(dtype) in message


@pytest.mark.parametrize("files", [{"a": 3}, {"a": None, "b": "x"}, {"a": ["x"]}, {"a": "x\0"}])
def test_an_index_that_names_no_files(models: Path, files: object) -> None:
    index = models / "first" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert refusal(opening(models))[0] == "model.weights"


def test_weights_that_cannot_be_read_say_why(models: Path) -> None:
    index = models / "first" / "model.safetensors.index.json"
    (models / "first" / "folder").mkdir()
    index.write_text(json.dumps({"weight_map": {"a": "folder"}}))
    code, message = refusal(opening(models))
    assert code == "model.weights" and "Is a directory" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_weights_without_permission(models: Path) -> None:
    (models / "first" / "model.safetensors").chmod(0)
    assert "Permission denied" in refusal(opening(models))[1]


@pytest.mark.parametrize("name", [f"{QUERY}.weight", "embeddings.word_embeddings.weight"])
def test_weights_beyond_fp16(tmp_path: Path, name: str) -> None:
    base = tiny.make_base("bert", tmp_path / "base", vocab_size=64)
    spoil(base / "model.safetensors", lambda t: t[name][0].__setitem__(0, 1e6))
    code, message = refusal(lambda: export_base(base, tmp_path / "half", weights="fp16"))
    assert code == "model.range" and "1e+06" in message and not (tmp_path / "half").exists()
    export_base(base, tmp_path / "int8", weights="int8")


# Tokenizers


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", None),
        ("tokenizer.json", "{bad"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", "["),
    ],
)
def test_tokenizers_that_cannot_be_read(models: Path, name: str, text: str | None) -> None:
    path = models / "first" / name
    path.unlink() if text is None else path.write_text(text)
    assert refusal(opening(models))[0] == "model.tokenizer"


# Adapters


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
        {"alpha_pattern": {"([a-z.0-9]+)+!": 2}},
        {"alpha_pattern": {"(e|e.|.)" * 40 + "!": 2}},
        {"alpha_pattern": {"a?" * 40 + "!": 2}},
        {"alpha_pattern": {"quer(y": 2}},
    ],
)
def test_settings_that_are_malformed(models: Path, changes: dict[str, object]) -> None:
    edit(models / "adapter" / "adapter_config.json", **changes)
    assert refusal(adapting(models))[0] == "model.adapter"


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
    ],
)
def test_patterns_match_as_pefts_do(pattern: str, matches: bool) -> None:
    module = f"bert.{QUERY}"
    assert bool(re.match(rf"(.*\.)?({pattern})$", module)) is matches
    assert pattern_matches(pattern, module) is matches


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
