"""Models that do not go together or are spoiled: exit 1, a line with a stable code, no trace."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.refused import assert_refused, export
from tests.support.spoiled import edit, spoil

Capture = pytest.CaptureFixture[str]


@pytest.mark.usefixtures("few_steps")
def test_the_untouched_copy_exports(models: Path, capsys: Capture) -> None:
    assert export(capsys, models).code == 0


# Models that do not belong together


def test_another_architecture(models: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("distilbert", tmp_path / "other")
    tuned = tiny.make_tuned(other, tmp_path / "tuned")
    assert_refused(export(capsys, models, tuned=tuned), "model.architecture", "distilbert", "bert")


def test_another_depth(models: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("bert", tmp_path / "other", num_hidden_layers=1)
    tuned = tiny.make_tuned(other, tmp_path / "tuned")
    assert_refused(export(capsys, models, tuned=tuned), "model.architecture", "encoder.layer.1")


def test_a_deeper_model(models: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("bert", tmp_path / "other", num_hidden_layers=3)
    tuned = tiny.make_tuned(other, tmp_path / "tuned")
    assert_refused(export(capsys, models, tuned=tuned), "model.architecture", "encoder.layer.2")


@pytest.mark.parametrize("method", ["truncsvd", "magtruncsvd", "osd"])
@pytest.mark.parametrize("budget", ["r=1", "8KiB"])
def test_chosen_layers_without_a_delta(
    models: Path, capsys: Capture, method: str, budget: str
) -> None:
    name = "pooler.dense.weight"
    base = load_file(models / "base" / "model.safetensors")
    spoil(
        models / "first" / "model.safetensors",
        lambda tensors: tensors.__setitem__(f"bert.{name}", base[name]),
    )
    result = export(capsys, models, "--method", method, "--budget", budget, "--sites", "pooler.*")
    assert_refused(result, "model.same", "no delta")


@pytest.mark.parametrize(
    "changes", [{"hidden_size": None}, {"num_attention_heads": 5}, {"hidden_act": "magic"}]
)
def test_configurations_that_describe_no_model(
    models: Path, capsys: Capture, changes: dict[str, object]
) -> None:
    edit(models / "base" / "config.json", **changes)
    assert_refused(export(capsys, models), "model.config")


def test_a_tokenizer_without_padding(models: Path, capsys: Capture) -> None:
    path = models / "base" / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    del fields["pad_token"]
    path.write_text(json.dumps(fields))
    (models / "base" / "special_tokens_map.json").write_text("{}")
    result = run_cli(capsys, "export", "base", models / "base", "-o", models / "out" / "base")
    assert_refused(result, "model.tokenizer", "pad_token")


def test_mistakes_that_need_no_model_are_told_at_once(models: Path, capsys: Capture) -> None:
    for option, value, code in (
        ("--name", "a b", "input.task-name"),
        ("--budget", "nonsense", "budget.malformed"),
        ("--calibration", models / "nowhere.tsv", "data.missing"),
    ):
        result = export(capsys, models, option, value)
        assert_refused(result, code)
        assert "Checking" not in result.err, "models were read before the mistake was told"


def test_another_width(models: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("bert", tmp_path / "other", intermediate_size=64)
    tuned = tiny.make_tuned(other, tmp_path / "tuned")
    assert_refused(export(capsys, models, tuned=tuned), "model.shape", "[64, 32]", "[48, 32]")


def test_other_settings(models: Path, capsys: Capture) -> None:
    edit(models / "first" / "config.json", num_attention_heads=2)
    assert_refused(export(capsys, models), "model.architecture", "num_attention_heads")


def test_a_resized_vocabulary(models: Path, capsys: Capture) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(models / "first")
    model.resize_token_embeddings(40)
    model.save_pretrained(models / "first")
    assert_refused(export(capsys, models), "model.vocabulary", "resized")


def test_other_positions_are_no_vocabulary(models: Path, capsys: Capture) -> None:
    edit(models / "base" / "config.json", max_position_embeddings=32)
    result = run_cli(capsys, "export", "base", models / "base", "-o", models / "out" / "base")
    assert_refused(result, "model.shape", "position_embeddings")


def test_another_tokenizer(models: Path, capsys: Capture) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models / "first")
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = description["model"]["vocab"]
    vocabulary["the"], vocabulary["cat"] = vocabulary["cat"], vocabulary["the"]
    (models / "first" / "tokenizer.json").write_text(json.dumps(description))
    assert_refused(export(capsys, models), "model.tokenizer")


def test_the_base_itself_as_tuned(models: Path, capsys: Capture) -> None:
    base = load_file(models / "base" / "model.safetensors")
    spoil(
        models / "first" / "model.safetensors",
        lambda t: t.update({f"bert.{k}": v for k, v in base.items()}),
    )
    result = export(capsys, models)
    assert_refused(result, "model.same", "--method head")
    assert export(capsys, models, "--method", "osd").code == 1


def test_a_model_of_which_the_head_alone_was_trained(
    models: Path, tiny_base: Path, capsys: Capture
) -> None:
    base = load_file(models / "base" / "model.safetensors")
    spoil(
        models / "first" / "model.safetensors",
        lambda t: t.update({f"bert.{k}": v for k, v in base.items()}),
    )
    texts = tiny.sentences(200)
    (models / "texts.txt").write_text("\n".join(texts) + "\n")
    options = ("--method", "head", "--calibration", models / "texts.txt", "--json")
    done = export(capsys, models, *options)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["sites"] == 0 and report["compressed"]["loss"] < 0.01  # nats
    session = EdgeSession(tiny_base)
    task = session.load(models / "out" / "task.osd.safetensors")
    model = AutoModelForSequenceClassification.from_pretrained(models / "first").eval()
    tokens = AutoTokenizer.from_pretrained(models / "first")(
        texts, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        own = model(**tokens).logits.softmax(-1)
    answers = session.classify(texts, task=task)
    found = torch.tensor([[answer.scores[label] for label in tiny.LABELS] for answer in answers])
    assert float((found - own).abs().max()) < 0.05


def test_a_model_without_a_classifier(models: Path, capsys: Capture) -> None:
    assert_refused(export(capsys, models, tuned=models / "base"), "model.head")
    spoil(
        models / "first" / "model.safetensors",
        lambda tensors: tensors.__delitem__("classifier.weight"),
    )
    assert_refused(export(capsys, models), "model.head", "classifier.weight")


def test_a_task_of_no_known_kind(models: Path, capsys: Capture) -> None:
    edit(models / "first" / "config.json", architectures=["BertForMultipleChoice"])
    assert_refused(export(capsys, models), "model.head", "BertForMultipleChoice")


def test_a_head_of_another_kind_than_asked_for(models: Path, capsys: Capture) -> None:
    assert_refused(export(capsys, models, "--kind", "spans"), "model.head", "qa_outputs", "spans")


def test_a_family_that_is_not_known(models: Path, capsys: Capture) -> None:
    edit(models / "base" / "config.json", model_type="t5")
    assert_refused(export(capsys, models), "model.family", "t5", "bert", "docs/families.md")


@pytest.mark.parametrize("which", ["base", "first"])
@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"quant_method": "gptq", "bits": 4},
    ],
)
def test_quantised_models(
    models: Path, capsys: Capture, which: str, settings: dict[str, object]
) -> None:
    edit(models / which / "config.json", quantization_config=settings)
    assert_refused(export(capsys, models), "model.quantised", str(settings["quant_method"]))


@pytest.mark.parametrize("end", ["SCB", "weight.absmax", "qweight"])
def test_quantised_tensors_of_a_silent_configuration(
    models: Path, capsys: Capture, end: str
) -> None:
    name = f"bert.encoder.layer.0.attention.self.query.{end}"
    spoil(
        models / "first" / "model.safetensors",
        lambda tensors: tensors.update({name: torch.ones(3)}),
    )
    assert_refused(export(capsys, models), "model.quantised", end)


def test_weights_that_are_integers(models: Path, capsys: Capture) -> None:
    name = "bert.encoder.layer.0.attention.self.query.weight"
    spoil(
        models / "first" / "model.safetensors",
        lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}),
    )
    assert_refused(export(capsys, models), "model.quantised", "int8")


def test_added_tokens(models: Path, capsys: Capture) -> None:
    """In the tokenizer alone, and with rows of their own in the embedding."""
    tokenizer = AutoTokenizer.from_pretrained(models / "first")
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(models / "first")
    assert_refused(export(capsys, models), "model.tokenizer")
    model = AutoModelForSequenceClassification.from_pretrained(models / "first")
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(models / "first")
    assert_refused(export(capsys, models), "model.vocabulary", "resized")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("base", "encoder.layer.1.output.dense.weight"),
        ("base", "embeddings.LayerNorm.bias"),
        ("first", "bert.encoder.layer.0.attention.self.query.weight"),
        ("first", "classifier.bias"),
    ],
)
def test_values_that_are_not_finite(
    models: Path, capsys: Capture, which: str, name: str, value: float
) -> None:
    spoil(
        models / which / "model.safetensors",
        lambda tensors: tensors[name].reshape(-1).__setitem__(0, value),
    )
    assert_refused(export(capsys, models), "model.not-finite", name.removeprefix("bert."))
    if which == "base":
        result = run_cli(capsys, "export", "base", models / "base", "-o", models / "out" / "base")
        assert_refused(result, "model.not-finite")
        assert not any((models / "out").iterdir())


def test_models_that_are_not_there(models: Path, capsys: Capture) -> None:
    assert_refused(export(capsys, models, base=models / "nowhere"), "model.missing", "nowhere")
    assert_refused(export(capsys, models, "--base", "no-such/model"), "model.missing")
    (models / "first" / "model.safetensors").unlink()
    assert_refused(export(capsys, models), "model.weights", "model.safetensors")
    (models / "first" / "config.json").write_text("{")
    assert_refused(export(capsys, models), "model.config")


def test_weights_that_are_cut_short(models: Path, capsys: Capture) -> None:
    path = models / "first" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert_refused(export(capsys, models), "model.weights")
