"""A user's mistakes: exit 1, a line with a stable code, no traceback, nothing left over."""

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from osd_edge.exporters import export_base
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.package.manifest import MANIFEST, WEIGHTS
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.command_line import Result, run_cli
from tests.support.kinds import KINDS

Capture = pytest.CaptureFixture[str]


def assert_refused(result: Result, code: str, *words: str) -> None:
    assert result.code == 1, result
    assert f"[{code}]" in result.err, result.err
    last = result.err.strip().splitlines()[-1]
    for word in words:
        assert word in last
    assert "Traceback" not in result.err
    assert len(last) < 500


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of base, fine-tuned model and examples that a test may spoil; `out` stays empty."""
    for name in ("base", "first"):
        shutil.copytree(tiny_models / name, tmp_path / name)
    shutil.copy(tiny_models / "examples.tsv", tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


def export(capsys: Capture, models: Path, *more: object, **paths: Path) -> Result:
    """Export the task; options in `more` win over the standard ones."""
    given = {str(word) for word in more}
    standard: list[object] = []
    for option, value in (
        ("--base", paths.get("base", models / "base")),
        ("--tuned", paths.get("tuned", models / "first")),
        ("--calibration", models / "examples.tsv"),
        ("-o", models / "out" / "task.osd.safetensors"),
    ):
        if option not in given:
            standard += [option, value]
    result = run_cli(capsys, "export", "task", *standard, *more)
    if result.code:
        assert not any((models / "out").iterdir()), "something was left behind"
    return result


def spoil(model: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = model / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit_config(model: Path, **changes: object) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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
    spoil(models / "first", lambda tensors: tensors.__setitem__(f"bert.{name}", base[name]))
    result = export(capsys, models, "--method", method, "--budget", budget, "--sites", "pooler.*")
    assert_refused(result, "model.same", "no delta")


@pytest.mark.parametrize(
    "changes", [{"hidden_size": None}, {"num_attention_heads": 5}, {"hidden_act": "magic"}]
)
def test_configurations_that_describe_no_model(
    models: Path, capsys: Capture, changes: dict[str, object]
) -> None:
    edit_config(models / "base", **changes)
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
    edit_config(models / "first", num_attention_heads=2)
    assert_refused(export(capsys, models), "model.architecture", "num_attention_heads")


def test_a_resized_vocabulary(models: Path, capsys: Capture) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(models / "first")
    model.resize_token_embeddings(40)
    model.save_pretrained(models / "first")
    assert_refused(export(capsys, models), "model.vocabulary", "resized")


def test_other_positions_are_no_vocabulary(models: Path, capsys: Capture) -> None:
    edit_config(models / "base", max_position_embeddings=32)
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
    spoil(models / "first", lambda t: t.update({f"bert.{k}": v for k, v in base.items()}))
    result = export(capsys, models)
    assert_refused(result, "model.same", "--method head")
    assert export(capsys, models, "--method", "osd").code == 1


def test_a_model_of_which_the_head_alone_was_trained(
    models: Path, tiny_base: Path, capsys: Capture
) -> None:
    base = load_file(models / "base" / "model.safetensors")
    spoil(models / "first", lambda t: t.update({f"bert.{k}": v for k, v in base.items()}))
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
    spoil(models / "first", lambda tensors: tensors.__delitem__("classifier.weight"))
    assert_refused(export(capsys, models), "model.head", "classifier.weight")


def test_a_task_of_no_known_kind(models: Path, capsys: Capture) -> None:
    edit_config(models / "first", architectures=["BertForMultipleChoice"])
    assert_refused(export(capsys, models), "model.head", "BertForMultipleChoice")


def test_a_head_of_another_kind_than_asked_for(models: Path, capsys: Capture) -> None:
    assert_refused(export(capsys, models, "--kind", "spans"), "model.head", "qa_outputs", "spans")


def test_a_family_that_is_not_known(models: Path, capsys: Capture) -> None:
    edit_config(models / "base", model_type="t5")
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
    edit_config(models / which, quantization_config=settings)
    assert_refused(export(capsys, models), "model.quantised", str(settings["quant_method"]))


@pytest.mark.parametrize("end", ["SCB", "weight.absmax", "qweight"])
def test_quantised_tensors_of_a_silent_configuration(
    models: Path, capsys: Capture, end: str
) -> None:
    name = f"bert.encoder.layer.0.attention.self.query.{end}"
    spoil(models / "first", lambda tensors: tensors.update({name: torch.ones(3)}))
    assert_refused(export(capsys, models), "model.quantised", end)


def test_weights_that_are_integers(models: Path, capsys: Capture) -> None:
    name = "bert.encoder.layer.0.attention.self.query.weight"
    spoil(models / "first", lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
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
    spoil(models / which, lambda tensors: tensors[name].reshape(-1).__setitem__(0, value))
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


# Calibration sets


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("x.tsv", None, "data.missing", ("x.tsv",)),
        ("x.tsv", b"", "data.empty", ()),
        ("x.tsv", b"label\ttext\n", "data.empty", ()),
        ("x.txt", b"\n\n", "data.empty", ()),
        ("x.tsv", b"text\tlabel\na\tred\n", "data.header", ("line 1",)),
        ("x.tsv", b"label\ttext\nred\ta cat\nred a dog\n", "data.row", ("line 3",)),
        ("x.tsv", b"label\ttext\nred\ta\tb\n", "data.row", ("line 2",)),
        ("x.tsv", b"label\ttext\nred\t\n", "data.row", ("line 2",)),
        ("x.tsv", b"label\ttext\nred\ta\npurple\tb\n", "data.label", ("line 3", "purple", "red")),
        ("x.tsv", b"label\ttext\nred\tcaf\xe9\n", "data.encoding", ("line 2", "UTF-8")),
        ("x.tsv", b"label\ttext\nred\ta\rb\n", "data.row", ("line 2", "carriage")),
        ("x.txt", b"a\0b\n", "data.row", ("line 1", "null")),
        ("x.csv", b"label,text\n", "data.kind", (".tsv",)),
        ("x.txt", b"a cat\n", "data.labels-needed", ("osd-rd",)),
    ],
)
def test_calibration_files(
    models: Path,
    capsys: Capture,
    name: str,
    content: bytes | None,
    code: str,
    words: tuple[str, ...],
) -> None:
    if content is not None:
        (models / name).write_bytes(content)
    calibration = ("--calibration", models / name)
    assert_refused(export(capsys, models, "--method", "osd", *calibration), code, *words)


def test_osd_without_calibration(models: Path, capsys: Capture) -> None:
    result = run_cli(
        capsys,
        *("export", "task", "--base", models / "base", "--tuned", models / "first"),
        *("--method", "osd", "-o", models / "out" / "task.osd.safetensors"),
    )
    assert_refused(result, "data.labels-needed", "osd-rd")


def test_osd_for_a_task_without_one_label(models: Path, tmp_path: Path, capsys: Capture) -> None:
    kind, settings = KINDS["token-labels"]
    tuned = tiny.make_tuned(models / "base", tmp_path / "tagger", task=kind, **settings)
    result = export(capsys, models, "--method", "osd", tuned=tuned)
    assert_refused(result, "model.head", "token-labels", "osd-rd")


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("truncsvd", "--extra-rank", 1),
        ("truncsvd", "--seed", 1),
        ("osd", "--jobs", 2),
        ("head", "--jobs", 2),
        ("head", "--sites", "*.attention.*"),
    ],
)
def test_options_that_mean_nothing_to_a_method(
    models: Path, capsys: Capture, method: str, option: str, value: object
) -> None:
    result = export(capsys, models, "--method", method, option, value)
    assert_refused(result, "input.options", method, option)


# Budgets


@pytest.mark.parametrize(
    "budget",
    ["r=0", "0", "much", "-3KiB", "r=one", "3 parsec", "9999999999GiB", "r=99999999999999999999"],
)
def test_malformed_budgets(models: Path, capsys: Capture, budget: str) -> None:
    assert_refused(export(capsys, models, "--budget", budget), "budget.malformed")


@pytest.mark.parametrize("method", ["truncsvd", "magtruncsvd", "osd"])
def test_a_budget_too_small_names_the_smallest(models: Path, capsys: Capture, method: str) -> None:
    """And the smallest it names works, while a byte less does not."""
    result = export(capsys, models, "--method", method, "--budget", "300")
    assert_refused(result, "budget.too-small", "smallest possible")
    smallest = int(result.err.rsplit("(", 1)[1].split(" bytes")[0])
    result = export(capsys, models, "--method", method, "--budget", str(smallest - 1))
    assert_refused(result, "budget.too-small")
    assert export(capsys, models, "--method", method, "--budget", str(smallest)).code == 0


def test_a_rank_budget_below_one_column(models: Path, capsys: Capture) -> None:
    result = export(capsys, models, "--method", "truncsvd", "--budget", "r=0.4")
    assert_refused(result, "budget.too-small", "r=1")
    result = export(capsys, models, "--method", "osd", "--budget", "r=0.001")
    assert_refused(result, "budget.too-small", "r=0.0")


# Bundles and base packages on the device


@pytest.fixture
def device(tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of a base package and a bundle: `base`, `task.osd.safetensors`."""
    shutil.copytree(tiny_base, tmp_path / "base")
    shutil.copy(tiny_bundles[0], tmp_path / "task.osd.safetensors")
    return tmp_path


def run_and_verify(capsys: Capture, device: Path, code: str, *words: str) -> None:
    bundle, base = device / "task.osd.safetensors", device / "base"
    ran = run_cli(capsys, "run", "--base", base, "--bundle", bundle, "--text", "a cat")
    assert_refused(ran, code, *words)
    assert_refused(run_cli(capsys, "verify", bundle, "--base", base), code, *words)


def test_bundles_that_cannot_be_trusted(device: Path, capsys: Capture) -> None:
    bundle = device / "task.osd.safetensors"
    whole = bundle.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        bundle.write_bytes(whole[:size])
        code = {0: "bundle.too-short", 7: "bundle.too-short", 100: "bundle.header-length"}
        run_and_verify(capsys, device, code.get(size, "bundle.truncated"))
    flipped = bytearray(whole)
    flipped[-5] ^= 4
    bundle.write_bytes(flipped)
    run_and_verify(capsys, device, "bundle.digest", "damaged")
    bundle.write_bytes(whole.replace(b'"osd.format":"1"', b'"osd.format":"2"'))
    run_and_verify(capsys, device, "bundle.version", "update osd-edge")
    bundle.write_text("not a bundle, but some text")
    run_and_verify(capsys, device, "bundle.header-length")
    save_file({"weight": torch.zeros(3)}, bundle)
    run_and_verify(capsys, device, "bundle.not-a-bundle")
    bundle.unlink()
    run_and_verify(capsys, device, "bundle.missing")


def test_a_bundle_of_another_base(device: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("bert", tmp_path / "other", seed=7)
    export_base(other, device / "base", overwrite=True)
    run_and_verify(capsys, device, "bundle.base", "export the task for this base")


def test_base_packages_with_missing_or_short_files(device: Path, capsys: Capture) -> None:
    weights = device / "base" / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    run_and_verify(capsys, device, "base.file", WEIGHTS, str(len(whole)))
    weights.unlink()
    run_and_verify(capsys, device, "base.file", "is missing")
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    verified = run_cli(capsys, "verify", device / "task.osd.safetensors", "--base", device / "base")
    assert_refused(verified, "base.digest")
    manifest = device / "base" / MANIFEST
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(fields | {"format": 9}))
    run_and_verify(capsys, device, "base.version")
    manifest.write_text("[]")
    run_and_verify(capsys, device, "base.version")
    malformed: tuple[dict[str, object], ...] = (
        {"fingerprint": 5},
        {"files": {}},
        {"files": {"../x": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"model.onnx": {"bytes": 1}}},
        {"inputs": "input_ids"},
        {"inputs": ["input_ids"]},
        {"inputs": ["input_ids", 5]},
        {"hidden_output": None},
        {"pooler_output": 5},
        {"hidden_size": 32.0},
        {"text": {"max_length": "x", "pad_id": 0}},
        {"text": {"max_length": 64, "pad_id": -1}},
        {"sites": [fields["sites"][0] | {"v": None}]},
        {"sites": [fields["sites"][0], fields["sites"][0]]},
    )
    for changes in malformed:
        manifest.write_text(json.dumps(fields | changes))
        run_and_verify(capsys, device, "base.manifest")
    manifest.write_text("{")
    run_and_verify(capsys, device, "base.manifest")
    manifest.write_text(json.dumps({"format": 1, "sites": 3}))
    run_and_verify(capsys, device, "base.manifest")
    manifest.unlink()
    run_and_verify(capsys, device, "base.missing", "export base")


def test_a_manifest_of_another_graph(device: Path, capsys: Capture) -> None:
    """Names of two sites swapped: each layer would get the other's factors."""
    path = device / "base" / MANIFEST
    fields = json.loads(path.read_text())
    sites = fields["sites"]
    first, other = sites[0], next(s for s in sites if s["n"] != sites[0]["n"])
    for factor in ("u", "v"):
        first[factor], other[factor] = other[factor], first[factor]
    path.write_text(json.dumps(fields))
    bundle = device / "task.osd.safetensors"
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    assert_refused(ran, "base.graph", "manifest")


def test_what_a_file_says_cannot_drive_the_terminal(device: Path, capsys: Capture) -> None:
    bundle = device / "task.osd.safetensors"
    hostile = "\x1b[31mred\n\x9b\u202e" + "x" * 5000
    content = replace(
        read_bundle_file(bundle),
        labels=(hostile, "b", "c"),
        task_version=hostile,
        tool=hostile,
        method={hostile: hostile},
        scores={hostile: {hostile: 1}},
    )
    bundle.write_bytes(write_bundle(content))
    shown = run_cli(capsys, "inspect", bundle)
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    as_json = run_cli(capsys, "inspect", bundle, "--json")
    for result in (shown, ran, as_json):
        assert result.code == 0
        assert not set(result.out) & set("\x1b\x9b\u202e\r")
    assert len(shown.out) + len(ran.out) < 5000
    assert json.loads(as_json.out)["labels"][0] == hostile


def test_a_graph_that_onnxruntime_cannot_open(device: Path, capsys: Capture) -> None:
    graph = device / "base" / "model.onnx"
    size = graph.stat().st_size
    graph.write_bytes(struct.pack("<Q", 7) * (size // 8) + b"\0" * (size % 8))
    bundle = device / "task.osd.safetensors"
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    assert_refused(ran, "base.graph")


def test_evaluation_data(device: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("label\ttext\nmauve\ta cat\n")
    arguments = ("--base", device / "base", "--bundle", device / "task.osd.safetensors")
    assert_refused(
        run_cli(capsys, "evaluate", *arguments, "--data", data), "data.label", "line 2", "mauve"
    )
    asked = run_cli(capsys, "run", *arguments, "--text", "a cat", "--question", "who?")
    assert_refused(asked, "input.options", "--question")
    data.write_text("text\ttext_pair\na cat\ta dog\n")
    assert_refused(run_cli(capsys, "evaluate", *arguments, "--data", data), "data.unlabelled")
    assert_refused(
        run_cli(capsys, "evaluate", *arguments, "--data", tmp_path / "x.txt"), "input.data"
    )


# Places that cannot be written


def test_folders_that_cannot_be_written(models: Path, capsys: Capture) -> None:
    nowhere = models / "nowhere" / "task.osd.safetensors"
    assert_refused(export(capsys, models, "-o", nowhere), "output.unwritable")
    a_file = models / "examples.tsv" / "task.osd.safetensors"
    assert_refused(export(capsys, models, "-o", a_file), "output.unwritable")
    assert_refused(export(capsys, models, "-o", models / "out"), "output.unwritable", "folder")
    rows = (models / "examples.tsv").read_bytes()
    same = export(capsys, models, "-o", models / "examples.tsv", "--name", "t")
    assert_refused(same, "output.exists", "calibration set")
    assert (models / "examples.tsv").read_bytes() == rows
    base = run_cli(capsys, "export", "base", models / "base", "-o", models / "examples.tsv" / "b")
    assert_refused(base, "output.unwritable")


def test_an_existing_folder_is_not_overwritten(models: Path, capsys: Capture) -> None:
    precious = models / "out" / "precious.txt"
    precious.write_text("do not lose me")
    for more in ((), ("--overwrite",)):
        result = run_cli(capsys, "export", "base", models / "base", "-o", models / "out", *more)
        assert_refused(result, "output.exists")
    assert precious.read_text() == "do not lose me"


def test_wrong_usage_exits_with_2(capsys: Capture) -> None:
    assert run_cli(capsys, "export", "task").code == 2
    assert run_cli(capsys, "no-such-command").code == 2
    device = ("--base", "x", "--bundle", "y")
    assert run_cli(capsys, "run", *device, "--text", "a", "--threads", 10**11).code == 2
    assert run_cli(capsys, "bench", *device, "--threads", 10**11).code == 2
    assert run_cli(capsys, "bench", *device, "--seconds", "inf").code == 2
    assert run_cli(capsys, "export", "task", "--method", "magic").code == 2
