"""Peers: what is measured is what the bytes hold, within the budget."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.data.examples import Example, read_examples
from osd_edge.errors import BudgetError
from osd_edge.exporters.compare.peers import golomb, nibbles
from osd_edge.exporters.compare.peers.bitdelta import BitDelta
from osd_edge.exporters.compare.peers.find import find_peer
from osd_edge.exporters.compare.peers.fitting import Sample
from osd_edge.exporters.compare.peers.peer import Restored
from osd_edge.exporters.methods.budget import layer_bits, parse_budget
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.registry import PRODUCT, check_compared, compared
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.text_set import TextSet
from osd_edge.exporters.scoring.weight_sets import LINEAR_ONLY, TUNED, Dense
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("few_steps")


# Those that need a LoRA have tests of their own.
METHODS = {
    name: find_peer(name) for name, (entry, _) in compared().items() if entry.needs != PRODUCT
}


def opened(base: Path, tuned: Path, examples: Sequence[Example]) -> Source:
    return Source(TaskOptions(base=base, tuned=tuned, calibration=examples))


@pytest.fixture(scope="module")
def source(tiny_models: Path) -> Source:
    return opened(
        tiny_models / "base", tiny_models / "first", read_examples(tiny_models / "examples.tsv")
    )


@pytest.fixture(scope="module")
def model(source: Source) -> TaskModel:
    assert source.model is not None
    return source.model


@pytest.mark.parametrize("name", METHODS)
def test_files_alone_give_the_weights_back(source: Source, model: TaskModel, name: str) -> None:
    """Two readings of equal bytes agree, have every head parameter, and come near the delta."""
    method = METHODS[name]
    budget = parse_budget("r=8") if method.sized else None
    compressed = method.compress(source, budget)
    assert compressed.size == sum(map(len, compressed.files.values()))
    first, again = (
        method.restore({n: bytes(d) for n, d in compressed.files.items()}, source.models.backbone)
        for _ in range(2)
    )
    if name == "head":  # which leaves the base as it is
        assert not first.deltas and first.over_base is not None
        return
    assert set(first.head) == model.head_parameters
    assert set(first.deltas) <= {layer.name for layer in source.layers}
    left = total = 0.0
    for layer in source.layers:
        delta = source.delta(layer.name)
        found = first.deltas.get(layer.name, torch.zeros_like(delta))
        assert found.shape == delta.shape and found.dtype == torch.float32
        assert torch.equal(found, again.deltas.get(layer.name, torch.zeros_like(delta)))
        left += float((found - delta).square().sum())
        total += float(delta.square().sum())
    if name.startswith("control-") or name in ("osd-rd", "osd-rd-codes"):
        return  # trained for the answers, not for ΔW
    if name not in ("bitdelta", "compeft"):  # which choose scales by the answers
        assert left < 0.9 * total
    for parameter, value in source.head().items():
        assert torch.allclose(first.head[parameter], value, atol=0.15)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].sized])
@pytest.mark.parametrize("text", ["12KiB", "20KiB", "r=2", "r=3"])
def test_budgets_are_never_exceeded(source: Source, name: str, text: str) -> None:
    budget = parse_budget(text)
    compressed = METHODS[name].compress(source, budget)
    if budget.size is not None:
        assert compressed.size <= budget.size
        # half of a tiny model's weights, the most for compeft, are less than the budget
        assert name in ("compeft", "control-zero") or compressed.size > 0.6 * budget.size
    else:
        assert budget.rank is not None
        bare = 12_000  # head, headers and, in a LoRA adapter, 26 names of tensors
        allowed = sum(layer_bits(budget.rank, x.n, x.d) for x in source.layers) // 8
        assert compressed.size <= allowed + bare


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].sized])
def test_what_is_too_small_is_named(source: Source, name: str) -> None:
    with pytest.raises(BudgetError) as refused:
        METHODS[name].compress(source, parse_budget("500"))
    assert refused.value.code == "budget.too-small"


def test_lossless_enough_peers_keep_the_logits(
    source: Source, model: TaskModel, tiny_models: Path
) -> None:
    texts = TextSet(source.models, read_examples(tiny_models / "examples.tsv"))
    with model.at(LINEAR_ONLY) as module:
        expected = texts.logits(module)
    for name in ("zstd", "lora"):
        budget = parse_budget("r=32") if METHODS[name].sized else None
        files = METHODS[name].compress(source, budget).files
        restored = METHODS[name].restore(files, source.models.backbone)
        # the tiny model's biases are shaken too, and no peer keeps those
        with model.at(Dense(restored.deltas, restored.head)) as module:
            biased = texts.logits(module)
        assert (biased - expected).abs().max() < 1e-2, name


def test_texts_come_back_in_their_order(
    source: Source, model: TaskModel, tiny_models: Path
) -> None:
    examples = read_examples(tiny_models / "examples.tsv")
    with model.at(TUNED) as module:
        together = TextSet(source.models, examples).logits(module)
        for row in (0, 7, 23):
            alone = TextSet(source.models, examples[row : row + 1]).logits(module)
            assert torch.allclose(alone[0], together[row], atol=1e-5)


def test_distilling_lowers_the_loss(source: Source, model: TaskModel) -> None:
    """Squared error of logits on the calibration set, with BitDelta's scales before and after."""
    texts = TextSet(source.models, source.examples)
    with model.at(TUNED) as module:
        target = texts.logits(module)
    losses = []
    for steps in (0, 60):
        method = BitDelta(steps)
        files = method.compress(source, None).files
        restored = method.restore(files, source.models.backbone)
        with model.at(Dense(restored.deltas, restored.head)) as module:
            losses.append(float((texts.logits(module) - target).square().mean()))
    assert losses[1] < 0.9 * losses[0]


def test_divergence_is_of_the_weights_given(tiny_models: Path) -> None:
    """On a source that has computed nothing yet, too."""
    examples = read_examples(tiny_models / "examples.tsv")
    fresh = opened(tiny_models / "base", tiny_models / "first", examples)
    nothing = Restored({}, fresh.head())
    first = fresh.shared(Sample).divergence(nothing)
    assert first == pytest.approx(fresh.shared(Sample).divergence(nothing)) and first > 1e-3


def test_bitdelta_starts_from_the_least_squares_scale(source: Source) -> None:
    method = BitDelta(0)
    restored = method.restore(method.compress(source, None).files, source.models.backbone)
    for layer in source.layers:
        delta, found = source.delta(layer.name), restored.deltas[layer.name]
        best = float((delta.abs().sum()) / delta.numel())
        assert torch.allclose(found.abs(), torch.full_like(found, best), rtol=1e-5)


def test_axis_signs_use_the_better_axis(source: Source) -> None:
    method = METHODS["axis-sign"]
    restored = method.restore(method.compress(source, None).files, source.models.backbone)
    for layer in source.layers:
        delta = source.delta(layer.name)
        left = float((restored.deltas[layer.name] - delta).square().sum())
        for axis in (0, 1):
            scaled = delta.sign() * delta.abs().mean(axis, keepdim=True)
            assert left <= float((scaled - delta).square().sum()) * 1.001


def test_methods_work_where_the_head_is_not_the_pooler(tmp_path: Path) -> None:
    """RoBERTa's head has its own dense layer, and its pooler no delta."""
    base = tiny.make_base("roberta", tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned")
    examples = read_examples(tiny.write_tsv(tmp_path / "examples.tsv", 8))
    source = opened(base, tuned, examples)
    model = TaskModel(source.models.backbone, source.models.tuned)
    for name in ("lora", "truncsvd-int4", "axis-sign", "zstd", "osd"):
        method = METHODS[name]
        compressed = method.compress(source, parse_budget("r=4") if method.sized else None)
        restored = method.restore(compressed.files, source.models.backbone)
        with model.at(Dense(restored.deltas, restored.head)):
            assert "classifier.dense.weight" in restored.head


def test_an_unknown_method_is_answered_with_the_list() -> None:
    with pytest.raises(Exception, match="truncsvd-int4"):
        check_compared(["lora", "lorra"])


def golomb_bits(gaps: np.ndarray, m: int) -> int:
    """Bits of `golomb.encode(gaps, m)`, before padding: unary quotients, then remainders."""
    width = (m - 1).bit_length()
    long = int((gaps % m >= (1 << width) - m).sum()) if m > 1 else 0
    return int((gaps // m).sum()) + gaps.size * (1 + max(0, width - 1)) + long


gaps = st.lists(st.integers(0, 5000), max_size=300).map(lambda x: np.array(x, np.int64))


@given(gaps, st.integers(1, 3000))
def test_golomb_codes_come_back(values: np.ndarray, m: int) -> None:
    data = golomb.encode(values, m)
    assert data.size == -(-golomb_bits(values, m) // 8)
    assert golomb.decode(data, len(values), m).tolist() == values.tolist()


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(1, 100))
def test_golomb_reads_anything_or_refuses(data: bytes, count: int, m: int) -> None:
    try:
        found = golomb.decode(np.frombuffer(data, np.uint8), count, m)
    except ValueError:
        return
    assert len(found) == count and (found >= 0).all()


@pytest.mark.parametrize("density", [0.0005, 0.01, 0.2, 0.45])
def test_golomb_comes_near_the_entropy(density: float) -> None:
    mask = np.random.default_rng(0).random(400_000) < density
    where = np.flatnonzero(mask)
    values = np.diff(where, prepend=-1) - 1
    p = where.size / mask.size
    entropy = -mask.size * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    best = golomb.best_parameter(values)
    bits = golomb_bits(values, best)
    assert bits < 1.05 * entropy
    assert all(bits <= 1.002 * golomb_bits(values, m) for m in (best + 1, max(1, best - 1)))


@given(st.lists(st.integers(-7, 7), max_size=99))
def test_nibbles_come_back(values: list[int]) -> None:
    codes = np.array(values, np.int8)
    packed = nibbles.pack(codes)
    assert packed.size == (len(values) + 1) // 2
    assert nibbles.unpack(packed, len(values)).tolist() == values


def test_four_bit_rows_beat_the_plain_scale() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32)
    rows[4] = 0
    codes, scales = nibbles.code_rows(rows)
    assert np.abs(codes).max() <= 7 and not codes[4].any()
    plain = np.abs(rows).max(axis=1, keepdims=True) / 7
    plain[4] = 1
    error = np.square(codes * scales[:, None] - rows).sum()
    assert error < np.square(np.rint(rows / plain) * plain - rows).sum()
