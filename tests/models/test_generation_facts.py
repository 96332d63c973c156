"""The facts of a language model at export: its head, its limits, its stop tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from osd_edge.errors import ModelError
from osd_edge.exporters.models.backbone import Backbone, backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.generation_facts import generation_facts, longest_text
from osd_edge.exporters.models.language_head import language_head
from osd_edge.exporters.models.stop_tokens import stop_ids
from osd_edge.exporters.models.tokenizer import load_tokenizer
from tests.support import tiny
from tests.support.language_models import VARIANTS, VOCABULARY, make_language_model

CONFIG, GENERATION = "config.json", "generation_config.json"
ABSENT = "absent"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for variant in VARIANTS:
        make_language_model(variant, folder / variant)
    return folder


@pytest.fixture
def model(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "opt", tmp_path / "model"))


def set_setting(file: Path, name: str, value: Any) -> None:
    fields = json.loads(file.read_text("utf-8"))
    fields.pop(name, None)
    file.write_text(json.dumps(fields if value == ABSENT else fields | {name: value}), "utf-8")


def opened(folder: Path) -> Backbone:
    return backbone_of(Checkpoint(folder))


@pytest.mark.parametrize(
    ("of_generation", "of_model", "expected"),
    [
        (7, 3, (7,)),
        ([7, 9, 7], 3, (7, 9)),
        (ABSENT, 5, (5,)),
        (None, [5, 6], (5, 6)),
    ],
)
def test_stop_tokens_are_those_of_the_first_file_that_names_some(
    model: Path, of_generation: Any, of_model: Any, expected: tuple[int, ...]
) -> None:
    set_setting(model / GENERATION, "eos_token_id", of_generation)
    set_setting(model / CONFIG, "eos_token_id", of_model)
    assert generation_facts(opened(model), 48).stop_ids == expected


def test_the_tokenizers_own_stop_token_is_the_last_to_count(model: Path) -> None:
    (model / GENERATION).unlink()
    set_setting(model / CONFIG, "eos_token_id", None)
    tiny.make_base("gpt2", model.parent / "tokens")
    tokenizer = load_tokenizer(Checkpoint(model.parent / "tokens"))
    tokenizer.eos_token = "[SEP]"
    assert stop_ids(Checkpoint(model), tokenizer, VOCABULARY) == (3,)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="eos_token_id") as refusal:
        stop_ids(Checkpoint(model), tokenizer, VOCABULARY)
    assert refusal.value.code == "model.stop"


@pytest.mark.parametrize("given", ["</s>", [], [3, "x"], -1, VOCABULARY, True, {"id": 3}, 3.0])
def test_what_is_no_token_is_no_stop_token(model: Path, given: Any) -> None:
    set_setting(model / GENERATION, "eos_token_id", given)
    with pytest.raises(ModelError) as refusal:
        generation_facts(opened(model), 48)
    assert refusal.value.code == "model.stop"


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_malformed_file_of_generation_is_refused(model: Path, text: str) -> None:
    (model / GENERATION).write_text(text, "utf-8")
    with pytest.raises(ModelError) as refusal:
        generation_facts(opened(model), 48)
    assert refusal.value.code == "model.config"


def test_the_cache_has_the_heads_of_keys(models: Path) -> None:
    facts = generation_facts(opened(models / "phi-grouped"), 40)
    assert (facts.context, facts.vocabulary) == (40, VOCABULARY)
    assert (facts.layers, facts.heads, facts.head_size) == (2, 2, 8)
    assert not facts.in_place  # a traced graph gives the past and the new columns anew


def test_the_longest_text_is_what_model_and_tokenizer_take_or_fewer(model: Path) -> None:
    assert longest_text(Checkpoint(model)) == 48
    assert longest_text(Checkpoint(model), 20) == 20
    assert longest_text(Checkpoint(model), 1000) == 48
    tiny.make_base("opt", model.parent / "tokens")
    for file in (model.parent / "tokens").glob("token*"):
        shutil.copy(file, model)
    set_setting(model / "tokenizer_config.json", "model_max_length", 30)
    assert longest_text(Checkpoint(model)) == 30


@pytest.mark.parametrize(
    ("variant", "table", "tied", "bias"),
    [
        ("gpt2", "wte.weight", True, None),
        ("gpt2-untied", "wte.weight", False, None),
        ("opt", "decoder.embed_tokens.weight", True, None),
        ("phi", "embed_tokens.weight", False, "lm_head.bias"),
        ("phi-grouped", "embed_tokens.weight", True, "lm_head.bias"),
    ],
)
def test_the_head_is_the_table_of_embeddings_where_both_are_tied(
    models: Path, variant: str, table: str, tied: bool, bias: str | None
) -> None:
    head = language_head(opened(models / variant))
    assert (head.table, head.tied, head.bias) == (table, tied, bias)
    assert head.weight == (table if tied else "lm_head.weight")


def spoil(folder: Path, **tensors: torch.Tensor | None) -> None:
    file = folder / "model.safetensors"
    held = load_file(file)
    for name, tensor in tensors.items():
        name = f"lm_head.{name}"
        held.pop(name, None)
        if tensor is not None:
            held[name] = tensor
    save_file(held, file, {"format": "pt"})


def test_a_head_that_is_not_there_is_refused(models: Path, tmp_path: Path) -> None:
    for i, name in enumerate(("weight", "bias")):
        folder = Path(shutil.copytree(models / "phi", tmp_path / str(i)))
        spoil(folder, **{name: None})
        with pytest.raises(ModelError, match=f"lm_head.{name}") as refusal:
            language_head(opened(folder))
        assert refusal.value.code == "model.tensor"


def test_a_head_of_another_shape_is_refused(models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "phi", tmp_path / "model"))
    spoil(folder, weight=torch.zeros(VOCABULARY + 1, 32))
    with pytest.raises(ModelError) as refusal:
        language_head(opened(folder))
    assert refusal.value.code == "model.shape"


def test_a_head_that_is_tied_and_another_is_refused(model: Path) -> None:
    table = load_file(model / "model.safetensors")["model.decoder.embed_tokens.weight"]
    spoil(model, weight=table.clone())
    assert language_head(opened(model)).tied  # saved twice, stored once
    spoil(model, weight=table + 1)
    with pytest.raises(ModelError, match="tie_word_embeddings") as refusal:
        language_head(opened(model))
    assert refusal.value.code == "model.config"


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_an_encoder_has_no_head(family: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{family} model, which writes no text") as refusal:
        language_head(opened(tiny.make_base(family, tmp_path / "base")))
    assert refusal.value.code == "model.head"


@pytest.mark.parametrize("variant", ["gpt2-untied", "opt", "phi", "phi-grouped"])
def test_a_checkpoint_in_parts_is_read_as_one(models: Path, variant: str, tmp_path: Path) -> None:
    """Names with a prefix, and the head without one, wherever they stand."""
    whole = Checkpoint(models / variant)
    make_language_model(variant, tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    parts = Checkpoint(tmp_path / "parts")
    assert parts.names() == whole.names()
    one, other = (backbone_of(checkpoint) for checkpoint in (whole, parts))
    assert language_head(other) == language_head(one)
    names = [*one.parameters, *(name for name in whole.names() if name.startswith("lm_head"))]
    assert all(torch.equal(parts.float32(name), whole.float32(name)) for name in names)
