"""Peers on a LoRA of a task that generates text: what is measured is what the bytes hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from osd_edge.exporters.compare.peers import flat, low_bits
from osd_edge.exporters.compare.peers.bitdelta import BitDelta
from osd_edge.exporters.compare.peers.controls import ZeroDelta, without_delta
from osd_edge.exporters.compare.peers.find import find_peer
from osd_edge.exporters.compare.peers.fitting import Sample
from osd_edge.exporters.compare.peers.peer import Restored
from osd_edge.exporters.methods.budget import layer_bits, parse_budget
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.exporters.methods.registry import HEAD, compared
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.methods.stored.integers import approximate_bits
from osd_edge.exporters.methods.stored.latents import Latent, Latents
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.weight_sets import TUNED, Dense
from tests.support.lora_tasks import make_lora_task

pytestmark = pytest.mark.usefixtures("few_steps")

METHODS = {name: find_peer(name) for name, (entry, _) in compared().items() if entry.needs != HEAD}
OWN = ("lora-own", "lora-own-int8", "lora-own-int4", "loraquant-3", "loraquant-2")
# Those that train, or choose scales, by the answers and not for ΔW.
BY_ANSWERS = ("control-", "bitdelta", "compeft", "osd-rd")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return make_lora_task(tmp_path_factory.mktemp("peers")).source()


def error_of(source: Source, restored: Restored) -> float:
    """The share of the delta's squared size that is not in `restored`."""
    left = total = 0.0
    for layer in source.layers:
        delta = source.delta(layer.name)
        found = restored.deltas.get(layer.name, torch.zeros_like(delta))
        assert found.shape == delta.shape and found.dtype == torch.float32
        left += float((found - delta).square().sum())
        total += float(delta.square().sum())
    return left / total


@pytest.mark.parametrize("name", METHODS)
def test_files_alone_give_the_delta_back(source: Source, name: str) -> None:
    method = METHODS[name]
    compressed = method.compress(source, parse_budget("r=2") if method.sized else None)
    assert compressed.size == sum(map(len, compressed.files.values()))
    first, again = (
        method.restore({n: bytes(d) for n, d in compressed.files.items()}, source.models.backbone)
        for _ in range(2)
    )
    assert not first.head and first.over_base is None
    assert set(first.deltas) <= {layer.name for layer in source.layers}
    for site, delta in first.deltas.items():
        assert torch.equal(delta, again.deltas[site])
    if not name.startswith(BY_ANSWERS):
        assert error_of(source, first) < 0.9


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].sized])
@pytest.mark.parametrize("text", ["8KiB", "r=1"])
def test_budgets_are_never_exceeded(source: Source, name: str, text: str) -> None:
    budget = parse_budget(text)
    size = METHODS[name].compress(source, budget).size
    allowed = sum(layer_bits(budget.rank or 0, x.n, x.d) for x in source.layers) // 8
    # The headers of an adapter name two tensors of each of 14 layers.
    assert size <= (budget.size if budget.size is not None else allowed + 6000)


def test_an_extracted_lora_has_no_more_ranks_than_the_trained_one(source: Source) -> None:
    """Its file is one that PEFT reads: every tensor as wide as the configuration says."""
    compressed = METHODS["lora"].compress(source, parse_budget("1MiB"))
    config = json.loads(compressed.files["adapter_config.json"])
    assert compressed.detail["rank"] == config["r"] == 3
    assert config["task_type"] == "CAUSAL_LM" and config["modules_to_save"] is None
    tensors = load(compressed.files["adapter_model.safetensors"])
    assert {min(tensor.shape) for tensor in tensors.values()} == {3}
    restored = METHODS["lora"].restore(compressed.files, source.models.backbone)
    assert error_of(source, restored) < 1e-5


@pytest.mark.parametrize("name", ["lora", "lora-own", "control-lora"])
def test_adapters_are_read_as_any_lora_is(source: Source, name: str, tmp_path: Path) -> None:
    method = METHODS[name]
    compressed = method.compress(source, parse_budget("1MiB") if method.sized else None)
    for file, data in compressed.files.items():
        (tmp_path / file).write_bytes(data)
    adapted = AdaptedCheckpoint(source.models.backbone.checkpoint, [(tmp_path, 1.0)])
    restored = method.restore(compressed.files, source.models.backbone)
    for site, delta in restored.deltas.items():
        product = adapted.low_rank(f"{site}.weight")
        assert product is not None and torch.allclose(product.dense(), delta, atol=1e-5)


def test_a_layer_of_fewer_columns_has_its_own_rank(source: Source) -> None:
    """PEFT takes the ranks of single layers from patterns, and scales by them."""
    from dataclasses import replace

    from osd_edge.exporters.compare.peers.lora import adapter

    factors = dict(source.factors)
    short = next(iter(factors))
    f = factors[short]
    factors[short] = replace(f, u=f.u[:1], v=f.v[:1], singular=f.singular[:1])
    config = json.loads(adapter(source, factors, {}, 3)["adapter_config.json"])
    assert config["rank_pattern"] == config["alpha_pattern"] == {short: 1}


def test_the_trained_lora_in_ever_fewer_bits(source: Source) -> None:
    """Bytes and errors are those of the bits; the own factors in fp16 are the LoRA itself."""
    sizes, errors = {}, {}
    for name in OWN:
        compressed = METHODS[name].compress(source, None)
        sizes[name] = compressed.size
        restored = METHODS[name].restore(compressed.files, source.models.backbone)
        errors[name] = error_of(source, restored)
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert list(errors.values()) == sorted(errors.values())
    assert errors["lora-own"] < 1e-5 and errors["lora-own-int8"] < 1e-3
    assert errors["lora-own-int4"] < 0.03 and errors["loraquant-2"] < 0.4
    # Of Gaussian values the best levels leave 0.0095 in 4 bits (Max 1960), of both factors twice.
    values = sum(3 * (layer.n + layer.d) for layer in source.layers)
    groups = sum(3 * (-(-layer.n // 64) + -(-layer.d // 64)) for layer in source.layers)
    units = 2 * len(source.layers)
    header = 700  # of a flat file: names, shapes and places of five tensors
    for name, bits in (("lora-own-int8", 8), ("lora-own-int4", 4)):
        least = (values * bits) // 8 + 2 * groups + 4 * units
        assert least <= sizes[name] <= least + header


def test_loraquant_keeps_the_leading_directions(source: Source) -> None:
    """The fewest that make up nine tenths of the squared singular values; the rest are signs."""
    compressed = METHODS["loraquant-2"].compress(source, None)
    tensors = flat.unpack(compressed.files["loraquant-2.safetensors"])
    leading, rest = tensors["leading.columns"], tensors["signs.columns"]
    for layer, count in zip(source.layers, leading.tolist(), strict=True):
        energy = source.factors[layer.name].singular.double().square()
        share = energy.cumsum(0) / energy.sum()
        assert share[count - 1] >= 0.9 and (count == 1 or share[count - 2] < 0.9)
    assert (leading + rest).tolist() == [3] * len(source.layers)
    layers = source.layers
    pairs = [(k, x.n + x.d) for k, x in zip(rest.tolist(), layers, strict=True)]
    assert tensors["signs.codes"].size == -(-sum(k * width for k, width in pairs) // 8)


def test_distilling_lowers_the_error_of_logits(source: Source) -> None:
    assert source.model is not None
    batches = batches_of(source.models, source.examples)
    kind_error = []

    def logits(module: object, batch: Batch) -> object:
        return module(**batch.tokens).logits  # type: ignore[operator]

    with source.model.at(TUNED) as module, torch.no_grad():
        target = [logits(module, batch) for batch in batches]
    from osd_edge.exporters.kinds import KINDS

    for steps in (0, 60):
        method = BitDelta(steps)
        restored = method.restore(method.compress(source, None).files, source.models.backbone)
        with source.model.at(Dense(restored.deltas, restored.head)) as module, torch.no_grad():
            pairs = [(logits(module, b), t) for b, t in zip(batches, target, strict=True)]
            errors = [KINDS["generate"].squared_error(*pair) for pair in pairs]  # type: ignore[arg-type]
        kind_error.append(sum(map(float, errors)))
    assert kind_error[1] < 0.95 * kind_error[0]


def test_squared_errors_are_those_of_whole_logits() -> None:
    from osd_edge.exporters.kinds.deferred_logits import DeferredLogits, mean_squared_error

    torch.manual_seed(0)
    weight = torch.randn(11, 4)
    states = torch.randn(5, 4, requires_grad=True)
    given = DeferredLogits(states, weight, cap=3.0)
    reference = DeferredLogits(torch.randn(5, 4), weight)
    loss = mean_squared_error(given, reference)
    plain = torch.nn.functional.mse_loss(given.of(states), reference.of(reference.states))
    assert torch.allclose(loss, plain)
    (ours,) = torch.autograd.grad(loss, states)
    (theirs,) = torch.autograd.grad(plain, states)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_divergence_is_nothing_for_the_task_itself(source: Source) -> None:
    deltas = {layer.name: source.delta(layer.name) for layer in source.layers}
    sample = source.shared(Sample)
    assert sample.divergence(Restored(deltas, {})) == pytest.approx(0, abs=1e-5)
    assert sample.divergence(Restored({}, {})) > 1e-3


def test_without_a_head_the_zero_start_has_no_delta_and_its_bytes() -> None:
    """U is zero and V's codes are in the wrong slots; training may spend the codes' bits."""
    torch.manual_seed(0)
    latent = Latent(3 * torch.randn(2, 9), 3 * torch.randn(2, 7), torch.ones(2))
    latents = Latents({"layer": latent}, (), ())
    start = without_delta(latents, 0).sites["layer"]
    assert not start.dense().any() and start.v is not None and latent.v is not None
    assert not torch.equal(start.v, latent.v)
    assert torch.equal(start.v.sort(1).values, latent.v.sort(1).values)


def test_a_delta_grows_from_zero_within_the_budget(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training leaves something, and it is no larger than the codes in whose place it is."""
    from dataclasses import replace

    monkeypatch.setitem(REFINEMENTS, "codes", replace(REFINEMENTS["codes"], steps=80))
    budget = parse_budget("8KiB")
    control = ZeroDelta()
    compressed = control.compress(source, budget)
    restored = control.restore(compressed.files, source.models.backbone)
    assert restored.deltas and any(delta.any() for delta in restored.deltas.values())
    assert 2048 < compressed.size <= 8192
    sample = source.shared(Sample)
    assert sample.divergence(restored) < sample.divergence(Restored({}, {}))


def test_bits_of_latents_count_both_factors() -> None:
    """The goal that a zero start is given is that of the codes, not of its zeros."""
    torch.manual_seed(0)
    latents = Latents(
        {"layer": Latent(3 * torch.randn(4, 90), 3 * torch.randn(4, 70), torch.ones(4))}, (), ()
    )
    assert approximate_bits(without_delta(latents, 0)) < 0.75 * approximate_bits(latents)


rows = st.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).normal(size=(3, 50)).astype(np.float32)
)


@given(st.lists(st.integers(0, 255), max_size=99), st.integers(1, 8))
def test_codes_come_back(values: list[int], bits: int) -> None:
    codes = (np.array(values, np.int64) % 2**bits).astype(np.uint8)
    packed = low_bits.pack(codes, bits)
    assert packed.size == -(-len(values) * bits // 8)
    assert low_bits.unpack(packed, len(values), bits).tolist() == codes.tolist()


@given(rows, st.integers(1, 8), st.sampled_from([7, 50, 64]))
def test_coding_is_what_the_codes_say(x: np.ndarray, bits: int, group: int) -> None:
    """No group is farther from its values than nothing at all; one bit is the mean magnitude."""
    found = low_bits.rounded(x, bits, group)
    assert found.codes.shape == x.shape and int(found.codes.max()) < 2**bits
    error = np.square(found.values() - x).sum()
    assert error < np.square(x).sum()
    if bits == 1 and group >= x.shape[1]:
        expected = np.abs(x).mean(axis=1, keepdims=True) * np.sign(x)
        assert np.allclose(found.values(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("bits", "largest"), [(1, 0.364), (2, 0.119), (3, 0.0375), (4, 0.0116)])
def test_gaussian_values_are_coded_as_well_as_even_levels_can(bits: int, largest: float) -> None:
    """Mean squared errors of the best uniform quantisers (Max 1960, table II), within 5 %."""
    x = np.random.default_rng(0).normal(size=(4, 4096)).astype(np.float32)
    error = float(np.square(low_bits.rounded(x, bits, 4096).values() - x).mean())
    assert error < 1.05 * largest


def test_zeros_and_tiny_values_are_coded() -> None:
    x = np.zeros((2, 70), np.float32)
    x[1] = 1e-9
    assert np.abs(low_bits.rounded(x, 4, 64).values() - x).max() < 1e-9
