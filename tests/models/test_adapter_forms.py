"""Adapters as they are found: names of tensors, files and starts of every origin."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, ModernBertForMaskedLM

from osd_edge.cli.options import weighted
from osd_edge.errors import ModelError
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from tests.models.test_adapters import make_adapter, merged
from tests.support import tiny
from tests.support.checkpoints import QUERY, adapting, refusal
from tests.support.spoiled import edit, spoil

WEIGHTS, PREFIX = "adapter_model.safetensors", "base_model.model."
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def rename(models: Path, new: Callable[[str], str]) -> None:
    """Give the tensors of the adapter other names; `new` takes one without PEFT's prefix."""
    path = models / "adapter" / WEIGHTS
    save_file({new(name.removeprefix(PREFIX)): t for name, t in load_file(path).items()}, path)


def named_default(name: str) -> str:
    """The name in the state of a model in memory, which has the adapter's."""
    if name.startswith("classifier."):
        return name.replace("classifier.", "classifier.modules_to_save.default.")
    return name.replace(".weight", ".default.weight")


NAMES: dict[str, Callable[[str], str]] = {
    "the-adapters-name": lambda n: PREFIX + named_default(n),
    "another-name": lambda n: PREFIX + named_default(n).replace("default", "sst2"),
    "the-prefix-twice": lambda n: PREFIX + PREFIX + n,
    "no-prefix": lambda n: n,
    "compiled": lambda n: "_orig_mod." + PREFIX + n,
    "compiled-within": lambda n: PREFIX + "_orig_mod." + n,
    "compiled-layers": lambda n: PREFIX + n.replace("layer.0.", "layer.0._orig_mod."),
    "parallel": lambda n: "module." + PREFIX + n,
    "parallel-within": lambda n: PREFIX + "module." + n,
    "sharded": lambda n: PREFIX + n.replace("layer.0.", "layer.0._fsdp_wrapped_module."),
}


@pytest.mark.parametrize("form", NAMES)
def test_names_of_every_origin_are_the_same_adapter(models: Path, form: str) -> None:
    names = ("classifier.weight", "classifier.bias", f"{QUERY}.weight")
    tuned = adapting(models)().tuned
    expected = {name: tuned.float32(name) for name in names}
    rename(models, NAMES[form])
    tuned = adapting(models)().tuned
    for name in names:
        assert torch.equal(tuned.float32(name), expected[name])


def test_a_file_with_several_adapters(models: Path) -> None:
    path = models / "adapter" / WEIGHTS
    tensors = load_file(path)
    lora = [name for name in tensors if "lora_" in name]
    for name in lora:
        tensors[name.replace(".weight", ".one.weight")] = tensors[name].clone()
        tensors[name.replace(".weight", ".two.weight")] = tensors.pop(name)
    save_file(tensors, path)
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and "one, two" in message and "selected_adapters" in message


def test_two_values_of_one_tensor(models: Path) -> None:
    path = models / "adapter" / WEIGHTS
    tensors = load_file(path)
    lora = next(name for name in tensors if "lora_A" in name)
    save_file(tensors | {f"_orig_mod.{lora}": tensors[lora].clone()}, path)
    assert adapting(models)().tuned  # equal ones are no matter
    save_file(tensors | {f"_orig_mod.{lora}": tensors[lora] + 1}, path)
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and "two values" in message


def test_parts_that_were_not_gathered(models: Path) -> None:
    path = models / "adapter" / WEIGHTS
    tensors = load_file(path)
    tensors |= {name: torch.zeros(0) for name in tensors if "lora_" in name}
    save_file(tensors, path)
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and "ZeRO-3" in message


def test_the_advice_about_a_pickle_works(models: Path) -> None:
    folder = models / "adapter"
    tensors = load_file(folder / WEIGHTS)
    expected = adapting(models)().tuned.float32(f"{QUERY}.weight")
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / "adapter_model.bin")
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and "pickle" in message
    program = message.partition('python -c "')[2].partition('"')[0]
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    assert torch.equal(adapting(models)().tuned.float32(f"{QUERY}.weight"), expected)


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json"])
def test_a_pointer_in_the_place_of_a_file(models: Path, name: str) -> None:
    (models / "adapter" / name).write_text(POINTER)
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and name in message and "git lfs pull" in message


def test_a_folder_above_the_adapter(models: Path) -> None:
    code, message = refusal(adapting(models, [""]))
    assert code == "model.adapter" and "folders in it that have one: adapter" in message


# Starts that change the base


def trained(base: Path, folder: Path, task: str = "SEQ_CLS", **settings: object) -> torch.Tensor:
    """Save an adapter, its start beside it; what the first query layer's weight then is."""
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    if task != "SEQ_CLS":
        model = model.base_model
    peft = get_peft_model(
        model, LoraConfig(task_type=task, r=4, target_modules=["query"], **settings)
    )
    peft.save_pretrained(folder / "start")
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    peft.save_pretrained(folder / "trained")
    with warnings.catch_warnings():  # that it loads the start beside what was trained
        warnings.filterwarnings("ignore", ".*changes the base weights of the model")
        peft.save_pretrained(
            folder / "converted", path_initial_model_for_weight_conversion=str(folder / "start")
        )
    weights: dict[str, torch.Tensor] = dict(peft.merge_and_unload().named_parameters())
    return next(weight for name, weight in weights.items() if name.endswith(f"{QUERY}.weight"))


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_the_advice_about_a_changed_base_works(models: Path, start: str) -> None:
    weight = trained(models / "base", models / start, init_lora_weights=start)
    code, message = refusal(adapting(models, [f"{start}/trained"]))
    assert code == "model.adapter-method"
    assert start in message and "PeftModel.from_pretrained" in message
    torch.manual_seed(9)  # of the process that follows the advice
    base = AutoModelForSequenceClassification.from_pretrained(models / "base", num_labels=3)
    peft = PeftModel.from_pretrained(base, models / start / "trained")
    peft.merge_and_unload().save_pretrained(models / "merged")
    pair = open_fine_tuned(models / "base", models / "merged")
    torch.testing.assert_close(pair.tuned.float32(f"{QUERY}.weight"), weight.detach())
    saved = load_file(models / start / "trained" / WEIGHTS)[f"{PREFIX}classifier.weight"]
    assert torch.equal(pair.tuned.float32("classifier.weight"), saved)


@pytest.mark.parametrize(
    ("setting", "value", "changed"),
    [
        ("target_parameters", ["intermediate.dense.weight"], "encoder.layer.0.intermediate.dense"),
        ("trainable_token_indices", {"word_embeddings": [1, 2]}, "embeddings.word_embeddings"),
    ],
)
def test_the_advice_about_tensors_of_another_form_works(
    models: Path, setting: str, value: object, changed: str
) -> None:
    settings: dict[str, Any] = {setting: value}
    adapter = make_adapter(models / "base", models / "one", target_modules=["query"], **settings)
    code, message = refusal(adapting(models, ["one"]))
    assert code == "model.adapter-method" and setting in message and "--tuned" in message
    model = merged(models / "base", adapter)
    model.save_pretrained(models / "merged")
    pair = open_fine_tuned(models / "base", models / "merged")
    for name in (changed, QUERY):
        ours = pair.tuned.float32(f"{name}.weight")
        assert torch.equal(ours, model.get_submodule(f"bert.{name}").weight)
        assert not torch.equal(ours, pair.backbone.checkpoint.float32(f"{name}.weight"))


@pytest.mark.parametrize("start", ["pissa_niter_4", "loftq", "corda", "lora_ga"])
def test_a_base_that_peft_does_not_make_again(models: Path, start: str) -> None:
    edit(models / "adapter" / "adapter_config.json", init_lora_weights=start)
    code, message = refusal(adapting(models))
    assert code == "model.adapter-method" and "in the process that trained it" in message


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "eva", "mica", True, False])
def test_starts_that_leave_the_base_be(models: Path, start: object) -> None:
    edit(models / "adapter" / "adapter_config.json", init_lora_weights=start)
    assert adapting(models)().head.kind == "labels"


def test_converted_files_without_a_head_are_taken(models: Path) -> None:
    settings = {"task": "FEATURE_EXTRACTION", "init_lora_weights": "pissa"}
    weight = trained(models / "base", models / "pissa", **settings)
    stages = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    folder = models / "pissa" / "converted"
    (folder / "modules.json").write_text(json.dumps(stages))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    pair: FineTuned = adapting(models, ["pissa/converted"])()
    ours = pair.tuned.float32(f"{QUERY}.weight")
    torch.testing.assert_close(ours, weight.detach(), rtol=1e-5, atol=1e-6)


def test_a_head_that_was_lost_in_the_conversion(models: Path) -> None:
    trained(models / "base", models / "pissa", init_lora_weights="pissa")
    spoil(  # as PEFT 0.21 does by itself
        models / "pissa" / "converted" / WEIGHTS,
        lambda t: [t.pop(f"{PREFIX}classifier.{end}", None) for end in ("weight", "bias")],
    )
    code, message = refusal(adapting(models, ["pissa/converted"]))
    assert (
        code == "model.head"
        and "merge_and_unload().save_pretrained(DIR), and give --tuned DIR" in message
    )


# Heads


def test_a_head_that_begins_with_a_layer_of_the_base(tmp_path: Path) -> None:
    """ModernBERT's classifier has the dense layer of the model for masked words."""
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(tiny.config("modernbert"))
    model.save_pretrained(tmp_path / "base")
    tiny.save_tokenizer(tmp_path / "base")
    adapter = make_adapter(tmp_path / "base", tmp_path / "all", target_modules="all-linear")
    expected = dict(merged(tmp_path / "base", adapter).named_parameters())
    pair = open_fine_tuned(tmp_path / "base", None, adapters=[(adapter, 1.0)])
    assert not torch.equal(expected["head.dense.weight"], model.head.dense.weight)
    names = ("head.dense.weight", "head.norm.weight", "classifier.weight", "layers.1.mlp.Wi.weight")
    for name in names:
        theirs = expected[name if name in expected else f"model.{name}"]
        torch.testing.assert_close(pair.tuned.float32(name), theirs, rtol=1e-5, atol=1e-6)


def test_a_head_of_which_a_layer_was_not_saved(tmp_path: Path) -> None:
    """PEFT keeps `classifier` and `score` by itself: of DeBERTa's head one layer of two."""
    base = tiny.make_base("deberta-v2", tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", target_modules=["query_proj"])
    with pytest.raises(
        ModelError, match=r"pooler\.dense is neither in it nor in the base"
    ) as raised:
        open_fine_tuned(base, None, adapters=[(adapter, 1.0)])
    assert raised.value.code == "model.head" and "--tuned" in str(raised.value)


# Names with a weight


def test_a_folder_of_the_whole_name_comes_before_its_weight(tmp_path: Path) -> None:
    whole = tmp_path / "12:30"
    assert weighted(str(whole)) == (str(tmp_path / "12"), 30.0)
    whole.mkdir()
    assert weighted(str(whole)) == (str(whole), 1.0)
    (tmp_path / "12").mkdir()
    assert weighted(str(whole)) == (str(whole), 1.0)
    assert weighted(f"{whole}:0.5") == (str(whole), 0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("C:\\adapters\\x", ("C:\\adapters\\x", 1.0)),
        ("C:/adapters/x", ("C:/adapters/x", 1.0)),
        ("C:\\adapters\\x:0.5", ("C:\\adapters\\x", 0.5)),
        ("one:-2", ("one", -2.0)),
        ("one", ("one", 1.0)),
    ],
)
def test_names_with_colons(given: str, expected: tuple[str, float]) -> None:
    assert weighted(given) == expected
