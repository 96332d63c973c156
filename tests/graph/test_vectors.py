"""Biases and norms that change, against torch with the changed model, in every family."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM

from osd_edge import BaseError, BundleError, ModelError, read_bundle_file, read_manifest
from osd_edge.exporters import export_base
from osd_edge.exporters.graph.vectors import prepare_norms
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.vectors import base_vectors
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import PLAIN_MODEL
from osd_edge.formats.package.manifest_reader import parse_manifest
from osd_edge.runtime import EdgeSession
from tests.support import tiny, written_decoders
from tests.support.language_models import make_language_model
from tests.support.vectors import add_to, vectors_task

ENCODERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{name: (name, {}, {}) for name in tiny.FAMILIES},
    "bert-no-pooler": ("bert", {"pooler": False}, {}),
    "bert-unfused": ("bert", {}, {"fuse": False}),
    "bert-dynamo": ("bert", {}, {"tracer": "dynamo"}),
    "bert-int8": ("bert", {}, {"weights": "int8"}),
    "bert-fp16-factors": ("bert", {}, {"factors": "fp16"}),
    "bert-few-sites": ("bert", {}, {"sites": ["*.layer.0.*.query"]}),
    "modernbert-biases": ("modernbert", {"norm_bias": True, "mlp_bias": True}, {}),
    "opt-fp16": ("opt", {}, {"weights": "fp16", "factors": "fp16"}),
}
WRITTEN = ("llama-biases", "qwen2", "qwen3", "gemma3")
TRACED = ("gpt2", "opt", "phi-grouped")


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and its package, which takes changes of vectors."""
    family, changes, options = ENCODERS[request.param]
    if options.get("tracer") == "dynamo":
        pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("vectors")
    tiny.make_base(family, folder / "base", **changes)
    export_base(folder / "base", folder / "package", vectors=True, **options)
    return folder


def inputs_of(session: EdgeSession, rows: int) -> dict[str, NDArray[Any]]:
    if session.manifest.inputs == ("pixel_values",):
        shape = (rows, 3, 16, 16)
        return {"pixel_values": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    encoded = session.encode(tiny.sentences(rows, seed=3, longest=40))
    return {name: np.asarray(encoded[name]) for name in session.manifest.inputs}


def torch_hidden(
    base: Path, changes: dict[str, NDArray[np.float32]], inputs: dict[str, NDArray[Any]]
) -> NDArray[Any]:
    backbone = backbone_of(Checkpoint(base))
    pooler = backbone.family.pooler is not None
    options = {"add_pooling_layer": backbone.has_pooler} if pooler else {}
    model = AutoModel.from_pretrained(base, attn_implementation="eager", **options).eval()
    add_to(model, backbone.family.model_type, changes)
    with torch.inference_mode():
        hidden = model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).last_hidden_state
    return np.asarray(hidden)


def assert_near(
    ours: NDArray[Any], theirs: NDArray[Any], mask: NDArray[Any] | None, most: float = 1e-4
) -> None:
    if mask is not None:
        ours, theirs = ours[mask > 0], theirs[mask > 0]
    assert np.abs(ours - theirs).max() <= most * max(1, np.abs(theirs).max())


def rounded(session: EdgeSession) -> bool:
    return bool(session.manifest.made["weights"] != "fp32")


def plain_hidden(package: Path, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(package / PLAIN_MODEL, options)
    return np.asarray(session.run(None, inputs)[0])


def test_without_a_change_answers_are_those_of_the_plain_graph(encoder: Path) -> None:
    session = EdgeSession(encoder / "package", threads=1)
    inputs = inputs_of(session, 5)
    assert np.array_equal(session.run(inputs).hidden, plain_hidden(encoder / "package", inputs))


def test_changed_vectors_give_the_states_of_the_changed_model(
    encoder: Path, tmp_path: Path
) -> None:
    session = EdgeSession(encoder / "package", threads=1)
    inputs = inputs_of(session, 6)
    mask = inputs.get("attention_mask")
    before = session.run(inputs).hidden
    hidden: dict[str | None, NDArray[Any]] = {None: before}
    for seed, name in enumerate(("one", "two")):
        file = tmp_path / f"{name}.osd.safetensors"
        changes = vectors_task(session.manifest, file, seed)
        session.activate(session.load(file))
        hidden[name] = session.run(inputs).hidden
        if not rounded(session):  # torch has the weights as they were
            assert_near(hidden[name], torch_hidden(encoder / "base", changes, inputs), mask)
        assert np.abs(hidden[name] - before).max() > 0.05
    # Rows of one batch with changes of their own, and without.
    tasks = ["one", None, "two", "one", None, "two"]
    mixed = session.run(inputs, tasks=tasks).hidden
    alone = np.stack([hidden[task][row] for row, task in enumerate(tasks)])
    # int8 rounds what layers take by one scale for all rows.
    assert_near(mixed, alone, mask, 2e-2 if rounded(session) else 1e-4)
    session.deactivate()
    assert np.array_equal(session.run(inputs).hidden, before)


@pytest.mark.parametrize("variant", [*WRITTEN, *TRACED])
def test_a_decoder_writes_as_the_changed_model_does(variant: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    if variant in WRITTEN:
        written_decoders.make_decoder(variant, base)
    else:
        make_language_model(variant, base)
        tiny.save_tokenizer(base)
    manifest = export_base(base, tmp_path / "package", task="generate", vectors=True)
    assert manifest.generation is not None
    changes = vectors_task(manifest, tmp_path / "t.osd.safetensors", 1)
    session = EdgeSession(tmp_path / "package", threads=1)
    session.load(tmp_path / "t.osd.safetensors")
    tokens = {"input_ids": np.array([[2, 5, 9]]), "attention_mask": np.ones((1, 3), np.int64)}
    none = (1, manifest.generation.heads, 0, manifest.generation.head_size)
    past = {name: np.zeros(none, np.float32) for name in manifest.generation.past}
    hidden = plain_hidden(tmp_path / "package", tokens | past)
    assert np.array_equal(session.run(tokens).hidden, hidden)
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").eval()
    prompts = [[2, 5, 9, 7, 4], [2, 8, 6], [2, 11, 5, 5, 12, 4, 9]]
    expected = [greedy(model, prompt, manifest.generation.stop_ids) for prompt in prompts]
    assert written(session, prompts, [None] * 3) == expected
    add_to(model.base_model, manifest.family, changes)
    changed = [greedy(model, prompt, manifest.generation.stop_ids) for prompt in prompts]
    assert written(session, prompts, ["t"] * 3) == changed != expected
    mixed = [changed[0], expected[1], changed[2]]
    assert written(session, prompts, ["t", None, "t"]) == mixed


def written(
    session: EdgeSession, prompts: list[list[int]], tasks: list[str | None]
) -> list[list[int]]:
    answers = session.generate(prompts, tasks=tasks, max_tokens=10)
    return [list(answer.tokens) for answer in answers]


def greedy(model: Any, prompt: list[int], stops: tuple[int, ...]) -> list[int]:
    """The likeliest ten tokens, by torch without kept keys."""
    tokens = [*prompt]
    with torch.inference_mode():
        for _ in range(10):
            following = int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax())
            if following in stops:
                break
            tokens.append(following)
    return tokens[len(prompt) :]


def test_a_package_with_vectors_lists_them_and_others_are_as_ever(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base")
    with_them = export_base(tmp_path / "base", tmp_path / "with", vectors=True)
    without = export_base(tmp_path / "base", tmp_path / "without")
    assert read_manifest(tmp_path / "with") == with_them
    fields = json.loads((tmp_path / "with" / "manifest.json").read_text())
    assert fields["format"] == 3
    norm = "encoder.layer.1.output.LayerNorm"
    assert [v for v in fields["vectors"] if v["name"].startswith(norm)] == [
        {"name": f"{norm}.weight", "n": 32, "input": f"{norm}.g"},
        {"name": f"{norm}.bias", "n": 32, "input": f"{norm}.g"},
    ]
    fields = json.loads((tmp_path / "without" / "manifest.json").read_text())
    assert fields["format"] == 1 and "vectors" not in fields and without.vectors == ()
    # Zeros of the longest are stored once, and nothing else is added to the weights.
    sizes = [(tmp_path / x / "model.onnx.data").stat().st_size for x in ("with", "without")]
    assert 0 <= sizes[0] - sizes[1] < 4096


def test_a_task_with_vectors_is_refused_by_a_package_that_takes_none(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base")
    manifest = export_base(tmp_path / "base", tmp_path / "with", vectors=True)
    export_base(tmp_path / "base", tmp_path / "without")
    file = tmp_path / "t.osd.safetensors"
    vectors_task(manifest, file, 0)
    session = EdgeSession(tmp_path / "without", threads=1)
    with pytest.raises(BundleError, match="export the base with --vectors") as refused:
        session.load(file)
    assert refused.value.code == "bundle.vector-base"
    shorter = replace(manifest, vectors=manifest.vectors[:-1])
    others = replace(manifest, vectors=(*manifest.vectors[1:], manifest.vectors[0]))
    for other, found in ((shorter, "no such vector"), (others, "numbers")):
        with pytest.raises(BundleError, match=found) as refused:
            check_fits(read_bundle_file(file), other)
        assert refused.value.code == "bundle.vector-base"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"format": 2},
        {"vectors": {}},
        {"vectors": [{"name": "a", "n": 0, "input": "a.b"}]},
        {"vectors": [{"name": "a", "n": 65536, "input": "a.b"}]},
        {"vectors": [{"name": "a", "n": 4}]},
        {"vectors": [{"name": "a", "n": 4, "input": "input_ids"}]},
        {"vectors": [{"name": "a", "n": 4, "input": 3}]},
        {"vectors": [{"name": "a", "n": 1, "input": "b"}] * 65536},
    ],
    ids=str,
)
def test_a_manifest_with_malformed_vectors_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    tiny.make_base("bert", tmp_path / "base")
    fields = json.loads(export_base(tmp_path / "base", tmp_path / "p", vectors=True).to_json())
    with pytest.raises(BaseError) as refused:
        parse_manifest(json.dumps(fields | change))
    assert refused.value.code == "base.manifest"


def test_a_graph_without_one_of_the_inputs_is_refused(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base")
    export_base(tmp_path / "base", tmp_path / "p", vectors=True)
    path = tmp_path / "p" / "manifest.json"
    fields = json.loads(path.read_text())
    fields["vectors"].pop()
    path.write_text(json.dumps(fields))
    with pytest.raises(BaseError) as refused:
        EdgeSession(tmp_path / "p", threads=1)
    assert refused.value.code == "base.graph"


def test_a_norm_that_is_not_the_checkpoint_s_refuses_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.make_base("bert", tmp_path / "base")

    def spoiled(model: onnx.ModelProto) -> None:
        prepare_norms(model)
        norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
        norm.input[1], norm.input[2] = norm.input[2], norm.input[1]

    monkeypatch.setattr("osd_edge.exporters.base_package.prepare_norms", spoiled)
    with pytest.raises(ModelError) as refused:
        export_base(tmp_path / "base", tmp_path / "p", vectors=True)
    assert refused.value.code == "model.graph" and not (tmp_path / "p").exists()


def test_the_list_of_vectors_is_the_biases_and_the_norms_alone(tmp_path: Path) -> None:
    tiny.make_base("bert", tmp_path / "base", num_hidden_layers=1)
    backbone = backbone_of(Checkpoint(tmp_path / "base"))
    names = [vector.name for vector in base_vectors(backbone)]
    weights = {f"{layer.name}.weight" for layer in backbone.layers}
    tables = {name for name in backbone.parameters if name.endswith("embeddings.weight")}
    assert set(names) == set(backbone.parameters) - weights - tables and len(tables) == 3
    assert names[:3] == [
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
        "encoder.layer.0.attention.self.query.bias",
    ]
