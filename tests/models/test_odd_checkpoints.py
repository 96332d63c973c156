"""Checkpoints that are damaged, hostile or merely odd: refused by their cause."""

import json
import os
from pathlib import Path

import pytest
import torch

from osd_edge.exporters import export_base
from osd_edge.exporters.models.checkpoint import Checkpoint, find_model
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from tests.support import tiny
from tests.support.checkpoints import QUERY, adapting, opening, refusal
from tests.support.command_line import run_cli
from tests.support.spoiled import edit, spoil

CODE = "from pathlib import Path\nPath({!r}).touch()\nclass Own: pass\n"


def test_the_untouched_ones_are_taken(models: Path) -> None:
    opening(models)()
    assert adapting(models, labels=["a", "b", "c"])().labels == ("a", "b", "c")


def test_a_folder_above_the_model_names_the_folders_in_it(models: Path) -> None:
    """A training writes a folder of checkpoints."""
    (models / "runs").mkdir()
    (models / "first").rename(models / "runs" / "checkpoint-500")
    (models / "runs").rename(models / "first")
    code, message = refusal(opening(models))
    assert code == "model.config" and "there is no config.json" in message
    assert message.endswith("give one of the folders in it that have one: checkpoint-500")


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
    opening(models)()  # all that the tokenizer does is in tokenizer.json
    (models / "first" / "tokenizer.json").unlink()
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
    (models / "first" / "model.safetensors").unlink()
    index = models / "first" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert refusal(opening(models))[0] == "model.weights"


def test_weights_that_cannot_be_read_say_why(models: Path) -> None:
    (models / "first" / "model.safetensors").unlink()
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
