"""Decoders: every family's task classes, adapters of models that generate, and what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from osd_edge.errors import InputError, ModelError
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import load_family
from osd_edge.exporters.models.fine_tuned import FineTuned, open_fine_tuned
from osd_edge.exporters.models.left_out import left_out
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED
from tests.support import decoders, tiny

CLASSES: dict[str, Any] = {
    "sequence": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "spans": AutoModelForQuestionAnswering,
}
HEADS = [(name, head) for name in decoders.DECODERS for head in load_family(name).heads]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("decoders")
    return {name: decoders.make_decoder(name, folder / name) for name in decoders.DECODERS}


@pytest.mark.parametrize(("family", "head"), HEADS)
def test_a_task_model_computes_what_transformers_does(
    bases: dict[str, Path], tmp_path: Path, family: str, head: str
) -> None:
    """Right padding, so that a classifier has to find the last token of each row."""
    count = {} if head == "spans" else {"num_labels": 3}
    decoders.make_tuned(bases[family], tmp_path / "tuned", CLASSES[head], **count)
    pair = open_fine_tuned(bases[family], tmp_path / "tuned")
    texts = tiny.sentences(5, seed=2)
    tokens = tiny.tokens_of(bases[family], texts, pair.backbone.family.inputs)
    reference = CLASSES[head].from_pretrained(tmp_path / "tuned").eval()
    model = TaskModel(pair.backbone, pair.tuned, pair.head)
    with model.at(TUNED) as module, torch.inference_mode():
        logits, expected = module(**tokens).logits, reference(**tokens)
    real = tokens["attention_mask"].bool()
    assert not real.all()
    if head == "sequence":
        torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-5)
        return
    if head == "spans":
        whole = torch.stack([expected.start_logits, expected.end_logits], -1)
    else:
        whole = expected.logits
    torch.testing.assert_close(logits[real], whole[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", decoders.DECODERS)
def test_tasks_of_every_kind_share_one_site_table_and_fingerprint(
    bases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    """The base as a model that generates, and as the bare backbone that a classifier came from."""
    decoders.make_tuned(bases[family], tmp_path / "writes")
    decoders.make_tuned(bases[family], tmp_path / "sorts", CLASSES["sequence"], num_labels=3)
    AutoModelForCausalLM.from_pretrained(bases[family]).model.save_pretrained(tmp_path / "bare")
    tiny.save_tokenizer(tmp_path / "bare")
    opened = [
        open_fine_tuned(base, tmp_path / task)
        for base in (bases[family], tmp_path / "bare")
        for task in ("writes", "sorts")
    ]
    assert [pair.head.kind for pair in opened] == ["generate", "labels"] * 2
    assert len({pair.fingerprint for pair in opened}) == 1
    assert len({pair.backbone.layers for pair in opened}) == 1
    assert len(opened[0].backbone.layers) == (12 if family == "phi" else 14)
    writes = opened[0].head
    assert (writes.pooling, writes.modules, writes.labels) == ("logits", (), ())


@pytest.mark.parametrize("family", decoders.DECODERS)
def test_every_weight_is_the_one_that_peft_merges(
    bases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    decoders.make_lora(
        bases[family],
        tmp_path / "lora",
        use_rslora=family == "qwen3",
        rank_pattern={"layers.0.self_attn.q_proj": 2},
        alpha_pattern={"layers.1.self_attn.v_proj": 3},
    )
    pair = open_fine_tuned(bases[family], None, adapters=[(tmp_path / "lora", 1.0)])
    assert pair.head.kind == "generate"
    base = AutoModelForCausalLM.from_pretrained(bases[family])
    peft: Any = PeftModel.from_pretrained(base, tmp_path / "lora")
    expected = dict(peft.merge_and_unload().named_parameters())
    for layer in pair.backbone.layers:
        ours = pair.tuned.float32(f"{layer.name}.weight")
        theirs = expected[f"model.{layer.name}.weight"]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert not torch.equal(ours, pair.backbone.checkpoint.float32(f"{layer.name}.weight"))
    assert left_out(pair.backbone, pair.tuned, pair.head) == {}


def test_an_adapter_that_does_not_say_its_task_generates(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    decoders.make_lora(bases["llama"], tmp_path / "lora", task_type=None)
    adapters: list[tuple[str | Path, float]] = [(tmp_path / "lora", 1.0)]
    assert open_fine_tuned(bases["llama"], None, adapters=adapters).head.kind == "generate"
    with pytest.raises(InputError) as caught:
        open_fine_tuned(bases["llama"], None, adapters=adapters, labels=["a", "b"])
    assert caught.value.code == "input.labels"


def test_adapters_of_both_kinds_go_over_one_decoder(bases: dict[str, Path], tmp_path: Path) -> None:
    """A classifier's adapter brings its head; weights add up, as they do for encoders."""
    decoders.make_lora(bases["qwen2"], tmp_path / "writes", seed=1)
    decoders.make_lora(bases["qwen2"], tmp_path / "sorts", CLASSES["sequence"], task_type="SEQ_CLS")
    adapters: list[tuple[str | Path, float]] = [
        (tmp_path / "writes", 0.5),
        (tmp_path / "sorts", 1.0),
    ]
    pair = open_fine_tuned(bases["qwen2"], None, adapters=adapters, labels=["a", "b"])
    assert (pair.head.kind, pair.head.pooling, pair.labels) == ("labels", "last", ("a", "b"))
    name = "layers.0.mlp.up_proj.weight"
    own = pair.backbone.checkpoint.float32(name)
    alone = [
        AdaptedCheckpoint(pair.backbone.checkpoint, [(tmp_path / one, 1.0)]).float32(name) - own
        for one in ("writes", "sorts")
    ]
    expected = own + 0.5 * alone[0] + alone[1]
    torch.testing.assert_close(pair.tuned.float32(name), expected, rtol=1e-5, atol=1e-6)


def changed_by(pair: FineTuned) -> dict[str, float]:
    changes = left_out(pair.backbone, pair.tuned, pair.head)
    return {name: change.relative for name, change in changes.items()}


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_what_a_bundle_leaves_out_is_named_with_its_size(
    bases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    """Llama's small model ties its embedding to the layer that gives logits, Qwen3's does not."""
    decoders.make_tuned(bases[family], tmp_path / "same")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "same")
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(1.25)
        for layer in model.model.layers:
            layer.input_layernorm.weight.mul_(0.5)
    model.save_pretrained(tmp_path / "moved")
    tiny.save_tokenizer(tmp_path / "moved")
    assert changed_by(open_fine_tuned(bases[family], tmp_path / "same")) == {}
    expected = {"embed_tokens.weight": 0.25, "layers.*.input_layernorm.weight": 0.5}
    moved = changed_by(open_fine_tuned(bases[family], tmp_path / "moved"))
    assert moved == pytest.approx(expected)
    if family == "qwen3":
        with torch.no_grad():
            model.lm_head.weight.mul_(2)
        model.save_pretrained(tmp_path / "moved")
        moved = changed_by(open_fine_tuned(bases[family], tmp_path / "moved"))
        assert moved == pytest.approx(expected | {"lm_head.weight": 1.0})


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_an_adapter_of_the_layer_that_gives_logits_is_left_out_and_named(
    bases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    targets = [*decoders.ALL_LINEAR, "lm_head"]
    decoders.make_lora(bases[family], tmp_path / "lora", target_modules=targets)
    pair = open_fine_tuned(bases[family], None, adapters=[(tmp_path / "lora", 1.0)])
    own = AutoModelForCausalLM.from_pretrained(bases[family]).lm_head.weight.detach()
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.lm_head.lora_{one}.weight"] for one in "AB")
    size = float((b @ a * 7 / 3).norm() / own.norm())
    assert changed_by(pair) == pytest.approx({"lm_head.weight": size})


def make_embedder(base: Path, folder: Path) -> Path:
    """A model of sentence-transformers that says it generates, as those of Qwen3 do."""
    decoders.make_tuned(base, folder, AutoModel)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Qwen3ForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    stages = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(stages.items())
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    return folder


def test_an_embedding_model_of_a_decoder_reads_the_last_token(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    make_embedder(bases["qwen3"], tmp_path / "embeds")
    pair = open_fine_tuned(bases["qwen3"], tmp_path / "embeds")
    plan = pair.head
    assert (plan.kind, plan.pooling, plan.normalize) == ("embedding", "last", True)
    tokens = tiny.tokens_of(bases["qwen3"], tiny.sentences(4), pair.backbone.family.inputs)
    reference = AutoModel.from_pretrained(tmp_path / "embeds").eval()
    model = TaskModel(pair.backbone, pair.tuned, plan)
    with model.at(TUNED) as module, torch.inference_mode():
        vectors, states = module(**tokens).logits, reference(**tokens).last_hidden_state
    last = tokens["attention_mask"].sum(1) - 1
    expected = torch.nn.functional.normalize(states[torch.arange(len(last)), last], dim=-1)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


SETTINGS = [
    ("llama", {"rope_theta": 500.0}),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("llama", {"rms_norm_eps": 1e-3}),
    ("smollm3", {"no_rope_layers": [1, 1]}),
    ("qwen2", {"sliding_window": 5}),
    ("qwen3", {"rope_theta": 500.0}),
    ("mistral", {"sliding_window": None}),
    ("gemma3_text", {"query_pre_attn_scalar": 32}),
    ("gemma3_text", {"layer_types": ["full_attention", "full_attention"]}),
    ("gemma3_text", {"rope_local_base_freq": 77.0}),
    ("phi", {"partial_rotary_factor": 0.25}),
]


@pytest.mark.parametrize(("family", "changes"), SETTINGS)
def test_another_setting_than_the_bases_is_refused(
    bases: dict[str, Path], tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    """Written as version 4 of transformers writes it, which both versions read."""
    decoders.make_tuned(bases[family], tmp_path / "tuned")
    path = tmp_path / "tuned" / "config.json"
    config = json.loads(path.read_text())
    for folder in (bases[family], tmp_path / "tuned"):
        assert Checkpoint(folder).config.model_type == family
    open_fine_tuned(bases[family], tmp_path / "tuned")
    config.pop("rope_parameters", None)  # version 5 would take these
    path.write_text(json.dumps(config | changes))
    with pytest.raises(ModelError) as caught:
        open_fine_tuned(bases[family], tmp_path / "tuned")
    assert caught.value.code == "model.architecture"
    assert tmp_path.name in str(caught.value) and "the base has" in str(caught.value)


def as_old(parameters: dict[str, Any]) -> dict[str, Any]:
    """The settings of version 4 that say what `rope_parameters` of version 5 do."""
    if "full_attention" in parameters:
        full, local = parameters["full_attention"], parameters["sliding_attention"]
        return as_old(full) | {"rope_local_base_freq": local["rope_theta"]}
    rest = {k: v for k, v in parameters.items() if k not in ("rope_theta", "partial_rotary_factor")}
    old = {k: v for k, v in parameters.items() if k not in rest}
    return old | {"rope_scaling": None if rest == {"rope_type": "default"} else rest}


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 32, "rope_theta": 300.0}
LINEAR: dict[str, Any] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 700.0}
ROPES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_type": "default", "rope_theta": 300.0}),
    ("llama", LLAMA3),
    ("mistral", LINEAR),
    ("qwen2", {"rope_type": "default", "rope_theta": 300.0}),
    (
        "gemma3_text",
        {
            "full_attention": LINEAR,
            "sliding_attention": {"rope_type": "default", "rope_theta": 90.0},
        },
    ),
    ("phi", {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 0.25}),
]


@pytest.mark.parametrize(("family", "parameters"), ROPES)
def test_positions_are_those_of_the_file_whichever_version_wrote_it(
    bases: dict[str, Path], tmp_path: Path, family: str, parameters: dict[str, Any]
) -> None:
    """A base saved by one version, and a task by the other: the same rotary positions."""
    decoders.make_tuned(bases[family], tmp_path / "tuned", CLASSES["sequence"], num_labels=3)
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    for name in ("rope_parameters", "rope_theta", "rope_scaling", "rope_local_base_freq"):
        config.pop(name, None)
    config.pop("partial_rotary_factor", None)
    files = {"old": as_old(parameters), "new": {"rope_parameters": parameters}}
    turns = {}
    for version, settings in files.items():
        path = tmp_path / "tuned" / "config.json"
        path.write_text(json.dumps(config | settings))
        tuned = Checkpoint(tmp_path / "tuned")
        other = Checkpoint(bases[family])
        model = AutoModel.from_config(tuned.config)
        turns[version] = [
            buffer
            for name, buffer in model.named_buffers()
            if "inv_freq" in name.rpartition(".")[2]
        ]
        plain = AutoModel.from_config(other.config)
        before = [buffer for name, buffer in plain.named_buffers() if "inv_freq" in name]
        assert any(
            a.shape != b.shape or not torch.equal(a, b)
            for a, b in zip(turns[version], before, strict=True)
        )
    assert turns["old"]
    for old, new in zip(turns["old"], turns["new"], strict=True):
        torch.testing.assert_close(old, new, rtol=0, atol=0)


def test_the_multimodal_gemma_is_refused_by_its_name(tmp_path: Path) -> None:
    decoders.make_decoder("gemma3_text", tmp_path / "base")
    path = tmp_path / "base" / "config.json"
    text = json.loads(path.read_text())
    config = {"model_type": "gemma3", "text_config": text, "architectures": ["Gemma3ForCausalLM"]}
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"gemma3.*gemma3_text") as caught:
        open_fine_tuned(tmp_path / "base", tmp_path / "base")
    assert caught.value.code == "model.family"
