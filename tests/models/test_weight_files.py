"""The weight files that transformers reads of a folder are read; others are told by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from osd_edge.errors import ModelError
from osd_edge.exporters import export_task
from osd_edge.exporters.models.checkpoint import Checkpoint
from tests.support.checkpoints import adapting, opening, refusal
from tests.support.spoiled import edit, spoil

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438007537\n"
TABLE = "embeddings.word_embeddings.weight"


def parts(base: Path, folder: Path) -> list[Path]:
    """Another model than `base` in parts, with their index, in `folder`."""
    model = AutoModel.from_pretrained(base)
    for parameter in model.parameters():
        parameter.data += 1
    model.save_pretrained(folder, max_shard_size="20KB")
    return sorted(folder.glob("model*"))


@pytest.fixture
def crowded(models: Path) -> Path:
    """The base with parts of another model beside its one file, with variants and pickles."""
    base = models / "base"
    for path in parts(base, models / "parts"):
        shutil.copy(path, base)
    other = {name: tensor + 2 for name, tensor in load_file(base / SINGLE).items()}
    for name in ("model.fp16.safetensors", "consolidated.safetensors", "other.safetensors"):
        save_file(other, base / name, {"format": "pt"})
    torch.save(other, base / "pytorch_model.bin")
    return base


@pytest.mark.parametrize(
    ("read", "moved"), [(SINGLE, 0.0), (INDEX, 1.0), ("other.safetensors", 2.0)]
)
def test_the_weights_are_those_that_transformers_reads(
    crowded: Path, read: str, moved: float
) -> None:
    own = load_file(crowded / SINGLE)[TABLE]
    if read != SINGLE:
        (crowded / SINGLE).unlink()
    if read == "other.safetensors":
        edit(crowded / "config.json", transformers_weights=read)
    found = Checkpoint(crowded).stored(TABLE)
    assert torch.equal(found, AutoModel.from_pretrained(crowded).state_dict()[TABLE])
    assert torch.equal(found, own + moved)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ("model-00001-of-00002.safetensors", "parts without model.safetensors.index.json"),
        ("model.fp16.safetensors", "variant="),
        ("consolidated.safetensors", "transformers' form"),
        ("pytorch_model.bin", "safe_serialization"),
        ("weights.safetensors", "no name that transformers reads"),
        ("tf_model.h5", "from_tf"),
        (None, "save_pretrained"),
    ],
)
def test_other_weights_alone_are_told_by_name(models: Path, left: str | None, words: str) -> None:
    weights = models / "first" / SINGLE
    weights.unlink() if left is None else weights.rename(models / "first" / left)
    code, message = refusal(opening(models))
    assert code == "model.weights" and words in message and (left or SINGLE) in message


def test_a_part_that_is_missing_is_named(models: Path) -> None:
    for path in parts(models / "base", models / "base"):
        path.touch()
    (models / "base" / SINGLE).unlink()
    missing = sorted((models / "base").glob("model-*"))[-1]
    missing.unlink()
    code, message = refusal(opening(models))
    assert code == "model.weights" and missing.name in message and "No such file" in message


@pytest.mark.parametrize("named", ["../first/model.safetensors", 3, ["model.safetensors"]])
def test_weights_that_a_configuration_names_lie_beside_it(models: Path, named: object) -> None:
    edit(models / "first" / "config.json", transformers_weights=named)
    code, message = refusal(opening(models))
    assert code == "model.weights" and "transformers_weights" in message


@pytest.mark.parametrize(
    "named",
    ["../first/model.safetensors", "/model.safetensors", "a/../b", "x" * 9999, "a\0", "", "."],
)
def test_an_index_lists_files_of_the_models_own_folder(models: Path, named: str) -> None:
    (models / "first" / SINGLE).unlink()
    (models / "first" / INDEX).write_text(json.dumps({"weight_map": {TABLE: named}}))
    code, message = refusal(opening(models))
    assert code == "model.weights" and "in the model's folder" in message and len(message) < 400


def test_a_type_that_torch_does_not_have(models: Path) -> None:
    file = models / "first" / SINGLE
    data = file.read_bytes()
    header = {"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}
    size = int.from_bytes(data[:8], "little")
    header |= {
        name: entry | {"data_offsets": [at + 3 for at in entry["data_offsets"]]}
        for name, entry in json.loads(data[8 : 8 + size]).items()
        if name != "__metadata__"
    }
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(3) + data[8 + size :])
    with pytest.raises(ModelError) as refused:
        Checkpoint(models / "first").stored("x")
    assert refused.value.code == "model.weights"


# Git-LFS


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (SINGLE, "model.weights"),
        (INDEX, "model.weights"),
        ("config.json", "model.config"),
        ("tokenizer.json", "model.tokenizer"),
        ("tokenizer_config.json", "model.tokenizer"),
    ],
)
def test_a_pointer_of_git_lfs_is_told_for_what_it_is(models: Path, name: str, code: str) -> None:
    if name == INDEX:
        (models / "first" / SINGLE).unlink()
    (models / "first" / name).write_text(POINTER)
    found, message = refusal(opening(models))
    assert found == code and "git lfs pull" in message and name in message


def test_a_pointer_in_an_adapters_place_is_told_for_what_it_is(models: Path) -> None:
    (models / "adapter" / "adapter_model.safetensors").write_text(POINTER)
    code, message = refusal(adapting(models))
    assert code == "model.adapter" and "git lfs pull" in message


# Names of wrapped models

WRAPPED: dict[str, Callable[[str], str]] = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "parallel": lambda name: f"module.{name}",
    "compiled and parallel": lambda name: f"module._orig_mod.{name}",
    "parallel and compiled": lambda name: f"_orig_mod.module.{name}",
    "compiled by layers": lambda name: name.replace(".layer.0.", ".layer.0._orig_mod."),
    "sharded": lambda name: name.replace(".layer.1.", ".layer.1._fsdp_wrapped_module."),
}


@pytest.mark.parametrize("how", list(WRAPPED))
def test_a_model_that_was_saved_wrapped_gives_the_same_bundle(models: Path, how: str) -> None:
    def export(name: str) -> bytes:
        out = models / name
        export_task(models / "base", models / "first", out, name="task", method="truncsvd")
        return out.read_bytes()

    def wrap(tensors: dict[str, torch.Tensor]) -> None:
        renamed = {WRAPPED[how](name): tensor for name, tensor in tensors.items()}
        assert set(renamed) != set(tensors)
        tensors.clear()
        tensors.update(renamed)

    plain = export("plain.osd.safetensors")
    spoil(models / "first" / SINGLE, wrap)
    spoil(models / "base" / SINGLE, lambda t: wrap(t) if "layer" not in how else None)
    assert export("wrapped.osd.safetensors") == plain


def test_an_adapter_that_was_saved_wrapped_is_the_same(models: Path) -> None:
    plain = adapting(models)().tuned.float32("encoder.layer.0.attention.self.query.weight")

    def wrap(tensors: dict[str, torch.Tensor]) -> None:
        renamed = {name.replace(".model.", ".model._orig_mod."): t for name, t in tensors.items()}
        tensors.clear()
        tensors.update(renamed)

    spoil(models / "adapter" / "adapter_model.safetensors", wrap)
    wrapped = adapting(models)().tuned
    assert torch.equal(wrapped.float32("encoder.layer.0.attention.self.query.weight"), plain)


def test_a_tensor_that_is_there_twice_is_refused(models: Path) -> None:
    name = f"bert.{TABLE}"
    spoil(models / "first" / SINGLE, lambda t: t.update({f"_orig_mod.{name}": t[name] + 1}))
    code, message = refusal(opening(models))
    assert code == "model.weights" and f"_orig_mod.{name}" in message and "twice" in message


def test_module_is_no_wrapper_where_not_all_names_begin_with_it(models: Path) -> None:
    spoil(models / "first" / SINGLE, lambda t: t.update({"module.more": torch.ones(2)}))
    assert "module.more" in Checkpoint(models / "first").names()
