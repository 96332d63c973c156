"""Traced graphs with caches, against torch: prompts of several lengths, then token by token."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from osd_edge.errors import InputError
from osd_edge.exporters import export_base
from osd_edge.exporters.graph.plain_graph import PlainGraph
from osd_edge.exporters.graph.traced_decoder import traced_decoder
from osd_edge.exporters.graph.tracers import TRACERS, tracer_named
from osd_edge.exporters.models.backbone import Backbone, backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.generation_facts import generation_facts
from osd_edge.exporters.models.rounding import as_stored
from osd_edge.exporters.models.weight_kinds import WEIGHT_KINDS
from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS, Generation
from osd_edge.formats.package.manifest import MODEL, WEIGHTS
from osd_edge.runtime import EdgeSession
from tests.support.chat_templates import chat_tokenizer
from tests.support.language_models import VARIANTS, VOCABULARY, make_language_model

CONTEXT = 48
Arrays = dict[str, NDArray[Any]]


class Decoder:
    """A traced graph in onnxruntime, which is fed what it gave before."""

    def __init__(self, base: Path, folder: Path, kind: str = "fp32", tracer: str = "") -> None:
        folder.mkdir()
        self.backbone: Backbone = backbone_of(Checkpoint(base))
        self.generation: Generation = generation_facts(self.backbone, CONTEXT)
        trace = tracer_named(tracer or TRACERS[0])
        self.graph: PlainGraph = traced_decoder(
            self.backbone, trace, folder / WEIGHTS, kind, self.generation
        )
        self.sites = self.graph.branched([layer.name for layer in self.backbone.layers], "fp32")
        onnx.save_model(self.graph.model, str(folder / MODEL))
        options = ort.SessionOptions()
        options.log_severity_level = 3  # it warns of every input that has a default
        self.session = ort.InferenceSession(folder / MODEL, options)
        self.names = [output.name for output in self.session.get_outputs()]
        self.factors: Arrays = {}
        self.mask = np.zeros((0, 0), np.int64)
        self.past: Arrays = {}

    def begin(self, rows: int) -> None:
        """Forget all tokens."""
        shape = rows, self.generation.heads, 0, self.generation.head_size
        self.past = {name: np.zeros(shape, np.float32) for name in self.generation.past}
        self.mask = np.zeros((rows, 0), np.int64)

    def run(self, ids: NDArray[Any], mask: NDArray[Any], *, every: bool = False) -> Arrays:
        """Take the tokens `[rows, S]` of which the mask has 1; give all outputs."""
        self.mask = np.concatenate([self.mask, mask], axis=1)
        feeds = {"input_ids": ids, "attention_mask": self.mask, ALL_LOGITS: np.array(int(every))}
        given = self.session.run(None, feeds | self.past | self.factors)
        found = dict(zip(self.names, given, strict=True))
        self.past = {
            past: found[present]
            for past, present in zip(self.generation.past, self.generation.present, strict=True)
        }
        return found


def torch_answers(model: Any, tokens: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Hidden states `[S, H]` and logits `[S, V]` of one row of tokens, from torch."""
    with torch.inference_mode():
        hidden = model.base_model(torch.from_numpy(tokens[None])).last_hidden_state
        return hidden[0].numpy(), model.get_output_embeddings()(hidden)[0].numpy()


def assert_equals_torch(decoder: Decoder, model: Any, lengths: list[int], steps: int) -> None:
    """Prompts of `lengths` in a batch, padded on the right, then `steps` single tokens."""
    random = np.random.default_rng(len(lengths))
    rows = [random.integers(4, VOCABULARY, length + steps) for length in lengths]
    width = max(lengths)
    ids, mask = (np.zeros((len(rows), width), np.int64) for _ in range(2))
    for i, length in enumerate(lengths):
        ids[i, :length], mask[i, :length] = rows[i][:length], 1
    expected = [torch_answers(model, row) for row in rows]
    decoder.begin(len(rows))
    found = decoder.run(ids, mask)
    for i, (length, (hidden, logits)) in enumerate(zip(lengths, expected, strict=True)):
        assert found[LOGITS].shape == (len(rows), 1, VOCABULARY)
        assert_close(found["last_hidden_state"][i, :length], hidden[:length])
        assert_close(found[LOGITS][i, 0], logits[length - 1])
    for step in range(steps):
        now = [row[length + step] for row, length in zip(rows, lengths, strict=True)]
        found = decoder.run(np.array(now)[:, None], np.ones((len(rows), 1), np.int64))
        for i, (length, (hidden, logits)) in enumerate(zip(lengths, expected, strict=True)):
            assert_close(found["last_hidden_state"][i, 0], hidden[length + step])
            assert_close(found[LOGITS][i, 0], logits[length + step])


def assert_close(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4


def torch_model(base: Path) -> Any:
    # Eager: the others leave settings of GPT-2's out.
    return AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").eval()


@pytest.fixture(scope="module", params=VARIANTS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_model(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def decoder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    return Decoder(base, tmp_path_factory.mktemp("packages") / base.name)


@pytest.fixture(autouse=True)
def without_a_task(request: pytest.FixtureRequest) -> None:
    if "decoder" in request.fixturenames:
        request.getfixturevalue("decoder").factors = {}


@pytest.mark.parametrize(
    ("lengths", "steps"), [([1], 5), ([9], 6), ([17, 4], 5), ([3, 11, 1, 8], 8)]
)
def test_a_prompt_and_what_follows_equal_torch(
    decoder: Decoder, base: Path, lengths: list[int], steps: int
) -> None:
    assert_equals_torch(decoder, torch_model(base), lengths, steps)


def test_a_task_at_every_layer_equals_torch_with_its_delta(decoder: Decoder, base: Path) -> None:
    model, random = torch_model(base), np.random.default_rng(9)
    modules = dict(model.base_model.named_modules())
    prefix = "decoder." if "decoder" in dict(model.base_model.named_children()) else ""
    for site in decoder.sites:
        assert site.u is not None and site.v is not None
        u = random.normal(0, 0.05, (1, 2, site.n)).astype(np.float32)
        v = random.normal(0, 0.05, (1, site.d, 2)).astype(np.float32)
        decoder.factors |= {site.u: u, site.v: v}
        delta = torch.from_numpy(v[0] @ u[0])  # [d, n]
        module = modules.get(site.name) or modules[prefix + site.name]
        weight = module.weight.data
        weight += delta if type(module).__name__ == "Conv1D" else delta.T
    assert_equals_torch(decoder, model, [12, 5], 4)


def test_the_next_chunk_of_one_row_equals_torch(decoder: Decoder, base: Path) -> None:
    """A conversation goes on: several tokens over those that are there, all logits asked for."""
    tokens = np.random.default_rng(1).integers(4, VOCABULARY, 20)
    hidden, logits = torch_answers(torch_model(base), tokens)
    decoder.begin(1)
    for start, stop in ((0, 7), (7, 8), (8, 20)):
        ids = tokens[None, start:stop]
        found = decoder.run(ids, np.ones_like(ids), every=True)
        assert_close(found["last_hidden_state"][0], hidden[start:stop])
        assert_close(found[LOGITS][0], logits[start:stop])


def test_rows_may_take_more_columns_than_the_model_has_positions(
    decoder: Decoder, base: Path
) -> None:
    """Padding takes a column of keys, and no position."""
    assert_equals_torch(decoder, torch_model(base), [CONTEXT - 8, 2], 8)
    tokens = np.random.default_rng(2).integers(4, VOCABULARY, 6)
    _, logits = torch_answers(torch_model(base), tokens)
    decoder.begin(1)
    decoder.run(tokens[None, :5], np.ones((1, 5), np.int64))
    padding = np.zeros((1, CONTEXT), np.int64)
    decoder.run(padding, padding)
    found = decoder.run(tokens[None, 5:], np.ones((1, 1), np.int64))
    assert decoder.mask.shape[1] > CONTEXT
    assert_close(found[LOGITS][0, 0], logits[5])


@pytest.mark.parametrize("name", TRACERS[1:])
@pytest.mark.parametrize("variant", ["gpt2", "phi-grouped"])
def test_another_tracer_equals_torch_or_is_refused(variant: str, name: str, tmp_path: Path) -> None:
    try:
        tracer_named(name)
    except InputError as missing:
        pytest.skip(str(missing))
    base = make_language_model(variant, tmp_path / "base")
    if name == "optimum":
        with pytest.raises(InputError, match="torchscript") as refusal:
            Decoder(base, tmp_path / "package", tracer=name)
        assert refusal.value.code == "input.tracer"
        return
    decoder = Decoder(base, tmp_path / "package", tracer=name)
    assert_equals_torch(decoder, torch_model(base), [3, 11, 1], 5)


@pytest.mark.parametrize("kind", WEIGHT_KINDS[1:])
@pytest.mark.parametrize("variant", ["gpt2", "opt-projected", "phi", "phi-grouped"])
def test_weights_in_fewer_bits_give_what_they_give_in_torch(
    variant: str, kind: str, tmp_path: Path
) -> None:
    base = make_language_model(variant, tmp_path / "base")
    decoder = Decoder(base, tmp_path / "package", kind)
    model = torch_model(base)
    layers = {id(dict(model.named_modules())[path]) for path in _linear_paths(model)}
    with torch.no_grad():
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if weight is None or weight.dim() != 2:
                continue
            turned = type(module).__name__ == "Conv1D"
            rows = weight.data.T if turned else weight.data
            embedding = id(module) not in layers
            stored = torch.from_numpy(
                as_stored(rows.contiguous().numpy(), kind, embedding=embedding)
            )
            weight.copy_(stored.T if turned else stored)
    tokens = np.random.default_rng(3).integers(4, VOCABULARY, 9)
    _, exact = torch_answers(torch_model(base), tokens)
    _, logits = torch_answers(model, tokens)
    decoder.begin(1)
    found = decoder.run(tokens[None], np.ones((1, 9), np.int64), every=True)
    # What onnxruntime rounds besides are the inputs of products, in int8.
    bound = {"fp16": 1e-4, "int8": 0.05, "int4": 0.05}[kind] * np.abs(exact).max()
    assert np.abs(found[LOGITS][0] - logits).max() <= bound
    assert np.abs(exact - logits).max() > 0


def _linear_paths(model: Any) -> list[str]:
    """The linear layers of the backbone: the head is stored as embeddings are."""
    return [
        path
        for path, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and path != "lm_head"
    ]


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
def test_a_tied_table_is_stored_once(kind: str, tmp_path: Path) -> None:
    sizes = []
    for variant in ("phi", "phi-grouped"):
        base = make_language_model(variant, tmp_path / variant)
        decoder = Decoder(base, tmp_path / f"{variant}-package", kind)
        stored = {
            tensor.name: int(np.prod(tensor.dims))
            for tensor in decoder.graph.model.graph.initializer
        }
        sizes.append(sum(size >= VOCABULARY * 32 for size in stored.values()))
    untied, tied = sizes
    # Beside the tables, layers are as large: those of the feed-forward part are smaller.
    assert (untied, tied) == (2, 1)


def test_no_more_than_one_layer_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer's weights are in the file before the next one's are read."""
    base = make_language_model("gpt2", tmp_path / "base")
    order = []
    read = Checkpoint.float32

    def noted(self: Checkpoint, name: str) -> torch.Tensor:
        order.append((name, (tmp_path / "package" / WEIGHTS).exists()))
        return read(self, name)

    monkeypatch.setattr(Checkpoint, "float32", noted)
    decoder = Decoder(base, tmp_path / "package")
    layers = [f"{layer.name}.weight" for layer in decoder.backbone.layers]
    first_reads = [there for name, there in order if name in layers]
    assert not first_reads[0] and all(first_reads[1:])


@pytest.mark.parametrize("variant", ["gpt2", "opt-projected", "phi-grouped"])
def test_a_package_writes_what_torch_writes(variant: str, tmp_path: Path) -> None:
    """From the model's folder to text: stop tokens, conversations and caches are all its own."""
    base = make_language_model(variant, tmp_path / "base", vocab_size=264)
    tokenizer = chat_tokenizer("gemma")
    tokenizer.save_pretrained(base)
    export_base(base, tmp_path / "package", task="generate")
    session = EdgeSession(tmp_path / "package", threads=1)
    model = torch_model(base)
    prompts = ["Hello", "a", "Some more words"]
    for prompt, found in zip(prompts, session.generate(prompts, max_tokens=12), strict=True):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        expected = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert list(found.tokens) == expected[0, ids.shape[1] :].tolist()
    facts = session.manifest.generation
    assert facts is not None and facts.chat is not None and facts.stop_ids == (3,)
    messages = [{"role": "user", "content": "Hi"}]
    (found,) = session.generate([messages], max_tokens=2)
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    expected = model.generate(
        torch.tensor([ids]), max_new_tokens=2, do_sample=False, pad_token_id=0
    )
    assert list(found.tokens) == expected[0, len(ids) :].tolist()
