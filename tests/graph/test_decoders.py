"""Decoders that write text, against torch: every family, many lengths, with keys of earlier tokens.

The graph is run by onnxruntime alone, so that this is what the package computes, whoever opens it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo

from osd_edge import BaseManifest, ModelError
from osd_edge.exporters import export_base
from osd_edge.exporters.graph.decoder import write_decoder
from osd_edge.exporters.graph.decoder.prove import prove_layers, prove_table
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.generation_facts import generation_facts
from osd_edge.formats.package.generation import ALL_LOGITS, LOGITS
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL
from tests.support.written_decoders import VARIANTS, VOCABULARY, make_decoder, torch_answers

Arrays = dict[str, NDArray[Any]]
RANDOM = np.random.default_rng(7)
ALL: Arrays = {ALL_LOGITS: np.array(1)}
LENGTHS = (19, 11, 3, 1)  # of the rows of a batch; windows are of 6
TEXTS = [RANDOM.integers(4, VOCABULARY, length + 4).tolist() for length in LENGTHS]


class Decoder:
    """A package's graph in onnxruntime, and the torch model that it was made from."""

    def __init__(self, folder: Path, model: Any, manifest: BaseManifest) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.manifest, self.model, self.folder = manifest, model, folder
        self._session = ort.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(
        self, ids: Any, mask: Any, past: Arrays | None = None, more: Arrays | None = None
    ) -> Arrays:
        """All outputs by name; without `past` nothing came before."""
        facts = self.manifest.generation
        assert facts is not None
        none = np.zeros((len(ids), facts.heads, 0, facts.head_size), np.float32)
        feeds = dict.fromkeys(facts.past, none) if past is None else self.as_past(past)
        given = (
            {"input_ids": np.array(ids), "attention_mask": np.array(mask)} | feeds | (more or {})
        )
        return dict(zip(self._outputs, self._session.run(None, given), strict=True))

    def as_past(self, outputs: Arrays) -> Arrays:
        """Keys and values of a run as inputs of the next."""
        facts = self.manifest.generation
        assert facts is not None
        return {p: outputs[q] for p, q in zip(facts.past, facts.present, strict=True)}


@pytest.fixture(scope="module", params=VARIANTS)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("decoder")
    model = make_decoder(request.param, folder / "model")
    manifest = export_base(folder / "model", folder / "package", task="generate")
    return Decoder(folder / "package", model, manifest)


def padded(texts: Sequence[Sequence[int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ids and mask `[batch, tokens]` of texts, padded on the right."""
    width = max(map(len, texts))
    ids = np.zeros((len(texts), width), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return ids, mask


def assert_close(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    assert np.abs(ours - theirs).max() <= 1e-4 * max(1, np.abs(theirs).max())


def test_a_batch_of_prompts_gives_hidden_states_and_all_logits(decoder: Decoder) -> None:
    texts = [text[:length] for text, length in zip(TEXTS, LENGTHS, strict=True)]
    outputs = decoder.run(*padded(texts), more=ALL)
    for row, text in enumerate(texts):
        hidden, logits = torch_answers(decoder.model, text)
        assert_close(outputs["last_hidden_state"][row, : len(text)], hidden)
        assert_close(outputs[LOGITS][row, : len(text)], logits)


def test_logits_are_of_each_row_s_own_last_token_unless_all_are_asked_for(
    decoder: Decoder,
) -> None:
    texts = [text[:length] for text, length in zip(TEXTS, LENGTHS, strict=True)]
    last = decoder.run(*padded(texts))[LOGITS]
    assert last.shape == (len(texts), 1, VOCABULARY)
    for row, text in enumerate(texts):
        assert_close(last[row, 0], torch_answers(decoder.model, text)[1][-1])


def test_tokens_after_a_batch_of_unequal_prompts(decoder: Decoder) -> None:
    outputs = decoder.run(*padded([t[:n] for t, n in zip(TEXTS, LENGTHS, strict=True)]))
    mask = padded([t[:n] for t, n in zip(TEXTS, LENGTHS, strict=True)])[1]
    for step in range(4):
        mask = np.concatenate([mask, np.ones((len(TEXTS), 1), np.int64)], axis=1)
        tokens = [[text[n + step]] for text, n in zip(TEXTS, LENGTHS, strict=True)]
        outputs = decoder.run(tokens, mask, outputs)
        for row, (text, n) in enumerate(zip(TEXTS, LENGTHS, strict=True)):
            hidden, logits = torch_answers(decoder.model, text[: n + step + 1])
            assert_close(outputs[LOGITS][row, 0], logits[-1])
            assert_close(outputs["last_hidden_state"][row, 0], hidden[-1])


@pytest.mark.parametrize("first", [1, 5, 13])
def test_a_text_in_two_pieces_is_the_whole_text(decoder: Decoder, first: int) -> None:
    text = TEXTS[0]
    outputs = decoder.run([text[:first]], [[1] * first])
    outputs = decoder.run([text[first:]], [[1] * len(text)], outputs, ALL)
    hidden, logits = torch_answers(decoder.model, text)
    assert_close(outputs[LOGITS][0], logits[first:])
    assert_close(outputs["last_hidden_state"][0], hidden[first:])


def test_a_delta_in_every_layer_is_added_to_the_weights(decoder: Decoder) -> None:
    texts = [text[:length] for text, length in zip(TEXTS, LENGTHS, strict=True)]
    factors, deltas = random_factors(decoder.manifest)
    outputs = decoder.run(*padded(texts), more=factors)
    modules = dict(decoder.model.model.named_modules())
    with torch.no_grad():
        for name, delta in deltas.items():
            modules[name].weight += delta
    try:
        for row, text in enumerate(texts):
            hidden, logits = torch_answers(decoder.model, text)
            assert_close(outputs["last_hidden_state"][row, : len(text)], hidden)
            assert_close(outputs[LOGITS][row, 0], logits[-1])
    finally:
        with torch.no_grad():
            for name, delta in deltas.items():
                modules[name].weight -= delta


def test_each_row_of_a_batch_may_have_a_delta_of_its_own(decoder: Decoder) -> None:
    texts = [text[:length] for text, length in zip(TEXTS[:2], LENGTHS[:2], strict=True)]
    tasks = [random_factors(decoder.manifest)[0] for _ in texts]
    stacked = {name: np.concatenate([task[name] for task in tasks]) for name in tasks[0]}
    mixed = decoder.run(*padded(texts), more=stacked)[LOGITS]
    for row, (text, task) in enumerate(zip(texts, tasks, strict=True)):
        alone = decoder.run([text], [[1] * len(text)], more=task)[LOGITS]
        assert_close(mixed[row], alone[0])


def test_no_task_is_the_graph_without_branches_bit_for_bit(decoder: Decoder) -> None:
    ids, mask = padded([text[:length] for text, length in zip(TEXTS, LENGTHS, strict=True)])
    ours = decoder.run(ids, mask)
    plain = ort.InferenceSession(
        str(decoder.folder / PLAIN_MODEL), providers=["CPUExecutionProvider"]
    )
    facts = decoder.manifest.generation
    assert facts is not None
    none = np.zeros((len(ids), facts.heads, 0, facts.head_size), np.float32)
    feeds = {"input_ids": ids, "attention_mask": mask} | dict.fromkeys(facts.past, none)
    for name, theirs in zip(ours, plain.run(None, feeds), strict=True):
        there = mask > 0 if name == "last_hidden_state" else slice(None)
        assert np.array_equal(ours[name][there], theirs[there]), name


def random_factors(manifest: BaseManifest) -> tuple[Arrays, dict[str, torch.Tensor]]:
    """Random factors of rank 2 for every site as the graph takes them, and ΔW `[n, d]` by layer."""
    factors: Arrays = {}
    deltas = {}
    for branch in manifest.branches:
        k = 2 * len(branch.sites)
        u, v = np.zeros((k, branch.n), np.float32), np.zeros((branch.d, k), np.float32)
        for i, (index, start) in enumerate(zip(branch.sites, branch.starts, strict=True)):
            site = manifest.sites[index]
            rows, columns = slice(2 * i, 2 * i + 2), slice(start, start + site.n)
            u[rows, columns] = RANDOM.normal(size=(2, site.n)) * 0.1
            v[:, rows] = RANDOM.normal(size=(site.d, 2)) * 0.1
            deltas[site.name] = torch.from_numpy(u[rows, columns].T @ v[:, rows].T)
        factors |= {branch.u: u[None], branch.v: v[None]}
    return factors, deltas


def test_heads_that_the_operator_does_not_take_are_refused(tmp_path: Path) -> None:
    model = make_decoder("qwen3", tmp_path / "model")
    model.config.head_dim = 24
    type(model)(model.config).save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="24") as refused:
        export_base(tmp_path / "model", tmp_path / "package", task="generate")
    assert refused.value.code == "model.config"


@pytest.mark.parametrize("weights", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("spoiled", ["embed_tokens.weight", "lm_head.weight", "layer"])
def test_other_weights_than_the_checkpoint_s_are_no_proof(
    tmp_path: Path, weights: str, spoiled: str
) -> None:
    make_decoder("llama-own-head", tmp_path / "model")
    backbone = backbone_of(Checkpoint(tmp_path / "model"))
    facts = generation_facts(backbone, 64)
    file = tmp_path / "data"
    written = write_decoder(backbone, file, weights, 64, facts)
    prefix = "layers.1.mlp.gate_up_proj.weight" if spoiled == "layer" else spoiled
    held = {tensor.name: tensor for tensor in written.model.graph.initializer}
    name = next(f"{prefix}{e}" for e in ("", ".fp16", ".int8", ".int4") if f"{prefix}{e}" in held)
    where = ExternalDataInfo(held[name])
    with file.open("r+b") as data:
        data.seek(int(where.offset or 0) + int(where.length or 0) - 1)
        last = data.read(1)[0]
        data.seek(-1, 1)
        data.write(bytes([last ^ 1]))
    with pytest.raises(ModelError, match="does not hold the weights") as refused:
        if spoiled == "layer":
            prove_layers(written, tmp_path, backbone, weights)
        else:
            prove_table(written, tmp_path, backbone, spoiled, weights)
    assert refused.value.code == "model.graph"
