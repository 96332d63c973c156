"""The algebra of the methods, each piece against a plain computation of the same thing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osd_edge.errors import ModelError
from osd_edge.exporters.methods.budget import Budget, layer_bits, paper_bits, parse_budget
from osd_edge.exporters.methods.factorize import factorize_sites, truncated_svd
from osd_edge.exporters.methods.paper.importance import importance_scores
from osd_edge.exporters.methods.paper.sparsify import magnitude_scores, sparsify
from osd_edge.exporters.methods.stored.values import stored_site
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.scoring.calibrated_task import calibrated, read_calibration
from osd_edge.exporters.scoring.weight_sets import Midpoint

sizes = st.integers(2, 12)
seeds = st.integers(0, 2**31)


def random_delta(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@given(sizes, sizes, seeds)
@settings(deadline=None)
def test_a_full_svd_gives_the_delta_back(n: int, d: int, seed: int) -> None:
    delta = random_delta(n, d, seed)
    factors = truncated_svd(delta, min(n, d))
    assert torch.allclose(factors.u.T @ factors.v, delta, atol=1e-5)


@given(sizes, sizes, st.integers(1, 4), seeds)
@settings(deadline=None)
def test_truncation_loses_the_rest_of_the_spectrum(n: int, d: int, k: int, seed: int) -> None:
    """Eckart and Young: the squared error is the sum of the squares left out."""
    delta = random_delta(n, d, seed)
    factors = truncated_svd(delta, k)
    error = (delta - factors.u.T @ factors.v).square().sum()
    left_out = torch.linalg.svdvals(delta)[k:].square().sum()
    assert float(error) == pytest.approx(float(left_out), abs=1e-3)


def test_the_svd_of_nothing_is_empty_and_of_rank_one_is_one() -> None:
    assert len(truncated_svd(torch.zeros(3, 4), 2).singular) == 0
    outer = torch.outer(torch.tensor([1.0, -2, 3]), torch.tensor([2.0, 1]))
    factors = truncated_svd(outer, 2)
    assert len(factors.singular) == 1
    assert factors.u.abs().max() == factors.u.max(), "the largest element of u is positive"


@given(sizes, sizes, st.integers(1, 5), st.floats(0.05, 3), seeds)
@settings(deadline=None)
def test_sparsification_keeps_the_best_within_the_budget(
    n: int, d: int, k: int, rank: float, seed: int
) -> None:
    factors = truncated_svd(random_delta(n, d, seed), k)
    k = len(factors.singular)
    bits = layer_bits(rank, n, d)
    scores = magnitude_scores(factors)
    u, v = sparsify(factors, scores, k, bits, "fp32")
    assert paper_bits(n, d, k, int((u != 0).sum()), int((v != 0).sum())) <= bits
    kept_u, kept_v = u != 0, v != 0
    assert torch.equal(u[kept_u], factors.u[:k][kept_u])
    assert torch.equal(kept_u.any(1), kept_v.any(1)), "no column has one side only"
    alive = kept_u.any(1)
    kept = torch.cat([scores[0][kept_u], scores[1][kept_v]])
    dropped = torch.cat([scores[0][alive][~kept_u[alive]], scores[1][alive][~kept_v[alive]]])
    if len(kept) and len(dropped):
        assert kept.min() >= dropped.max()


def test_the_papers_bit_count_by_hand() -> None:
    # n = 384, d = 1536, k = 3: 1152 and 4608 places, 11 and 13 bits of index
    assert paper_bits(384, 1536, 3, 100, 200) == 32 * 300 + 11 * 100 + 13 * 200
    assert paper_bits(384, 1536, 3, 100, 200, "int8") == 8 * 300 + 1100 + 2600 + 3 * 32
    assert layer_bits(1, 384, 1536) == 32 * 1920


def test_budgets_are_read_as_people_write_them() -> None:
    assert parse_budget("r=1") == Budget(rank=1)
    assert parse_budget("r = 0.5") == Budget(rank=0.5)
    assert parse_budget("64KiB") == Budget(size=65536)
    assert parse_budget("1.5MB") == Budget(size=1_500_000)


@given(sizes, sizes, seeds, st.sampled_from(["fp32", "fp16", "int8"]))
@settings(deadline=None)
def test_quantised_factors_stay_near(n: int, d: int, seed: int, values: str) -> None:
    factors = truncated_svd(random_delta(n, d, seed), 2)
    site = stored_site(0, factors.u, factors.v, values)
    assert site is not None
    u, v = site.decode()
    product = factors.u.double().T @ factors.v.double()
    # half a step of 1/127 on each side, for each of two columns
    bound = {"fp32": 1e-6, "fp16": 4e-3, "int8": 0.02}[values]
    peak = float(factors.u.abs().max() * factors.v.abs().max())
    assert np.abs(u.T @ v - product.numpy()).max() <= bound * peak * 2


def test_values_too_large_for_fp16_are_refused() -> None:
    with pytest.raises(ModelError) as refusal:
        stored_site(0, torch.full((1, 3), 1e6), torch.ones(1, 3), "fp16")
    assert refusal.value.code == "model.range"


def test_importance_is_the_damage_pushed_through_the_other_factor(tiny_models: Path) -> None:
    """Against Z formed whole, from gradients taken batch by batch at the midpoint."""
    pair = open_fine_tuned(tiny_models / "base", tiny_models / "first")
    examples = read_calibration(tiny_models / "examples.tsv", pair.labels)
    calibrated_task = calibrated(pair, examples)
    factors = factorize_sites(
        pair.backbone, pair.tuned, {layer.name: 3 for layer in pair.backbone.layers}
    )
    scores = importance_scores(
        calibrated_task.model, pair.backbone, calibrated_task.calibration, factors
    )
    name = "encoder.layer.1.intermediate.dense"
    weight = calibrated_task.model.parameter(f"{name}.weight")
    base = pair.backbone.checkpoint.float32(f"{name}.weight")
    delta = pair.tuned.float32(f"{name}.weight") - base
    z = torch.zeros_like(delta)
    with calibrated_task.model.at(Midpoint(list(factors))) as module:
        assert torch.allclose(weight.detach(), base + delta / 2)
        weight.requires_grad_(True)
        for batch in calibrated_task.calibration.batches:
            assert batch.labels is not None
            logits = module(**batch.tokens).logits
            loss = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
            z += (torch.autograd.grad(loss, weight)[0] * delta).abs()
    u, v = factors[name].u, factors[name].v
    expected_u = u.abs() * (z @ v.abs().T).T
    expected_v = v.abs() * (z.T @ u.abs().T).T
    # scores only rank: a common factor is as good
    ratio = scores[name][0].sum() / expected_u.sum()
    assert torch.allclose(scores[name][0], expected_u * ratio, rtol=1e-3)
    assert torch.allclose(scores[name][1], expected_v * ratio, rtol=1e-3)
