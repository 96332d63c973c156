"""The algebra of osd-rd, each piece against a plain computation of the same thing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osd_edge.data.examples import Example
from osd_edge.errors import BudgetError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.frozen_head import fit_to
from osd_edge.exporters.methods.gain import CurvePoint, Gain
from osd_edge.exporters.methods.options import NATS
from osd_edge.exporters.methods.osd_rd import whitening
from osd_edge.exporters.methods.osd_rd.allocate import (
    coarsest_step,
    columns_at,
    finest_within,
    head_columns_at,
    matrix_at,
)
from osd_edge.exporters.methods.osd_rd.compress import steps_for
from osd_edge.exporters.methods.osd_rd.distillation import distillation_loss
from osd_edge.exporters.methods.osd_rd.feedback import metric_of, shaped
from osd_edge.exporters.methods.osd_rd.keep import smallest_that_keeps
from osd_edge.exporters.methods.osd_rd.mixtures import mixtures, training_texts
from osd_edge.exporters.methods.osd_rd.rescale import rescaled
from osd_edge.exporters.methods.osd_rd.statistics import Statistics, collect_statistics
from osd_edge.exporters.methods.osd_rd.whitening import roots, whitened_svd
from osd_edge.exporters.methods.stored.integers import integer_layers, integer_sites
from osd_edge.exporters.methods.stored.latents import Latent, Latents, quantize, shrunk
from osd_edge.exporters.models.head_plan import HeadPlan
from osd_edge.exporters.models.low_rank import LowRank
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.calibrated_task import evenly_spaced
from osd_edge.exporters.scoring.held_back import split
from osd_edge.exporters.scoring.score import Score
from tests.support.matrices import damage, random, some_statistics

sizes = st.integers(2, 10)
seeds = st.integers(0, 2**31)


@given(st.floats(-50, 50))
def test_the_deadzone_is_two_thirds_of_a_step_wide(x: float) -> None:
    q = float(quantize(torch.tensor(x, dtype=torch.float64)))
    assert (q == 0) == (abs(x) < 0.65)
    assert q * x >= 0 and abs(q - x) <= 0.65


@given(sizes, seeds)
@settings(deadline=None)
def test_roots_invert_each_other(n: int, seed: int) -> None:
    x = random(seed, 2 * n, n)
    matrix = x.T @ x / n + 0.1 * torch.eye(n)
    root, inverse = roots(matrix)
    assert torch.allclose(root @ root, matrix, atol=1e-3)
    assert torch.allclose(root @ inverse, torch.eye(n), atol=1e-3)


@given(sizes, sizes, seeds)
@settings(deadline=None)
def test_whitening_is_undone_and_a_column_costs_its_singular_value(
    n: int, d: int, seed: int
) -> None:
    delta, statistics = random(seed, n, d), some_statistics(n, d, seed)
    columns = whitened_svd(delta, statistics)
    assert torch.allclose(columns.u.T @ columns.v, delta, atol=1e-3)
    without_last = columns.u[:-1].T @ columns.v[:-1]
    lost = float(columns.singular[-1]) ** 2
    assert damage(delta - without_last, statistics) == pytest.approx(lost, rel=0.02, abs=1e-3)
    plain = whitened_svd(delta, Statistics())
    assert torch.allclose(plain.u.T @ plain.v, delta, atol=1e-4)


@given(sizes, sizes, seeds, st.integers(0, 3), st.sampled_from([-0.02, 0.02]))
@settings(deadline=None)
def test_rescaling_is_the_least_squares_optimum(
    n: int, d: int, seed: int, column: int, change: float
) -> None:
    delta, statistics = random(seed, n, d), some_statistics(n, d, seed)
    columns = whitened_svd(delta, statistics)
    latent = columns_at(columns, 0.3 * coarsest_step({"x": columns}))
    best = rescaled(latent, delta, statistics)
    found = damage(delta - best.dense(), statistics)
    assert found <= damage(delta - latent.dense(), statistics) * 1.001
    moved = best.scale.clone()
    moved[column % len(moved)] *= 1 + change
    other = Latent(best.u, best.v, moved)
    assert found <= damage(delta - other.dense(), statistics) * (1 + 1e-4)


@given(seeds, st.floats(0.01, 0.9))
@settings(deadline=None)
def test_a_budget_is_never_exceeded_and_a_larger_one_is_used(seed: int, share: float) -> None:
    columns = {str(i): whitened_svd(random(seed + i, 12, 9), Statistics()) for i in range(3)}

    def at(step: float) -> Latents:
        sites = {name: columns_at(c, step) for name, c in columns.items()}
        return shrunk(Latents(sites, (), ()), 0.0)

    def size(latents: Latents) -> int:
        return sum(int(quantize(x).count_nonzero()) for s in latents.sites.values() for x in s.rows)

    most = int(share * 3 * 9 * 21)
    coarsest = coarsest_step(columns)
    assert size(at(1.001 * coarsest)) == 0
    found = finest_within(at, lambda latents: size(latents) <= most, coarsest)
    assert found is not None and size(found[1]) <= most
    assert size(at(found[0])) == size(found[1])
    # columns come whole or in pieces, so something may be left over, but not much
    assert size(found[1]) >= min(0.7 * most, most - 12)
    assert finest_within(at, lambda _: False, coarsest) is None


@given(sizes, seeds)
@settings(deadline=None)
def test_a_metric_in_which_all_is_alike_leaves_rounding_as_it_is(n: int, seed: int) -> None:
    x = 3 * random(seed, 4, n)
    assert torch.equal(quantize(shaped(x, metric_of(torch.eye(n)))), quantize(x))


@given(st.integers(0, 50))
@settings(deadline=None)
def test_errors_passed_on_cost_less_in_their_metric(seed: int) -> None:
    """As the arithmetic over the geometric mean of the eigenvalues has it, near enough."""
    n = 96
    spectrum = torch.logspace(0, -2, n)
    basis, _ = torch.linalg.qr(random(seed, n, n))
    h = (basis * spectrum) @ basis.T
    metric = metric_of(h)
    assert metric.mean == pytest.approx(float(spectrum.log().mean().exp()), rel=0.01)
    x = 4 * random(seed + 1, 8, n)

    def cost(codes: torch.Tensor) -> float:
        return float(((x - codes) @ h * (x - codes)).sum())

    plain, passed_on = cost(quantize(x)), cost(quantize(shaped(x, metric)))
    gain = float(spectrum.mean()) / metric.mean
    assert gain > 2
    assert passed_on < plain / (0.5 * gain)


@given(seeds, st.floats(0.01, 100))
@settings(deadline=None)
def test_a_wide_head_layer_keeps_a_column_at_any_step(seed: int, times: float) -> None:
    columns = whitened_svd(random(seed, 12, 9), Statistics())
    step = times * coarsest_step({"": columns})
    kept, other = head_columns_at(columns, step), columns_at(columns, step)
    assert kept.v is not None and len(kept.u) >= 1
    assert bool(quantize(kept.u).any(1).all()) and bool(quantize(kept.v).any(1).all())
    if times < 0.99:
        assert torch.equal(kept.u, other.u)


@given(seeds, st.floats(0.0, 3.0))
@settings(deadline=None)
def test_shrinking_never_adds(seed: int, amount: float) -> None:
    latent = Latent(3 * random(seed, 4, 8), 3 * random(seed + 1, 4, 6), torch.ones(4))
    before = Latents({"x": latent}, (), ())
    after = shrunk(before, amount)
    if "x" in after.sites:
        kept = after.sites["x"]
        assert all(quantize(x).any(1).all() for x in kept.rows), "no column without a value"
        assert sum(quantize(x).abs().sum() for x in kept.rows) <= sum(
            quantize(x).abs().sum() for x in latent.rows
        )


@given(seeds)
@settings(deadline=None)
def test_integers_stand_for_what_the_latents_do(seed: int) -> None:
    """Within the 2.2 % of a scale's grid and half a step of a bias."""
    latent = Latent(2 * random(seed, 3, 8), 2 * random(seed + 1, 3, 6), random(seed + 2, 3))
    latents = shrunk(Latents({"x": latent}, (matrix_at(random(seed, 2, 5), 1, 0.1),), ()), 0)
    latents = Latents(latents.sites, latents.head, (random(seed, 2),))
    for site in integer_sites(latents, {"x": 4}):
        u, v = site.decode()
        expected = latents.sites["x"].dense().numpy()
        assert site.site == 4
        assert np.abs(u.T @ v - expected).max() <= 0.03 * sum(
            np.abs(np.outer(a, b)).max() for a, b in zip(u, v, strict=True)
        )
    (layer,) = integer_layers(latents, ["tanh"])
    decoded = layer.decode()
    assert decoded.weight is not None and decoded.bias is not None
    assert np.allclose(decoded.weight, latents.head[0].dense(), rtol=0.023, atol=1e-6)
    (given_bias,) = latents.biases
    assert given_bias is not None
    largest = np.abs(decoded.bias).max()
    assert np.abs(decoded.bias - given_bias.numpy()).max() <= 0.06 * largest


class _Classifier(torch.nn.Module):
    """Two linear layers over embeddings, with the outputs that a transformers model has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(7, 5)
        self.first, self.second = torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embedding

    def forward(self, input_ids: torch.Tensor) -> object:
        hidden = torch.tanh(self.first(self.embedding(input_ids)))
        # like a classifier's, the logits are read from the first token alone
        return type("Output", (), {"logits": self.second(hidden[:, 0])})()


def test_statistics_are_second_moments_of_tokens_that_matter() -> None:
    model = _Classifier().requires_grad_(False)
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    batch = Batch({"input_ids": ids}, None, (0, 1))
    found = collect_statistics(
        model, {"first": model.first}, [batch] * 400, 0, kind=KINDS["labels"]
    )["first"]
    x = model.embedding(ids[:, 0])  # other tokens carry no gradient
    a = x.T @ x / 2
    slope = 1 - torch.tanh(model.first(x)) ** 2
    jacobians = model.second.weight[None] * slope[:, None]  # E over v of g gᵀ is Jᵀ J
    g = (jacobians.transpose(1, 2) @ jacobians).mean(0)
    for moment, expected in ((found.a, a), (found.g, g)):
        assert isinstance(moment, torch.Tensor)
        mean = expected.diagonal().mean()
        assert torch.allclose(moment - 0.03 * torch.eye(len(moment)), expected / mean, atol=0.1)
    weight = float((a.diagonal().mean() * g.diagonal().mean()).sqrt())
    assert found.weight == pytest.approx(weight, rel=0.1)
    assert not any(p.requires_grad for p in model.parameters())


def test_distillation_loss_is_zero_for_the_teacher_and_ignores_padding() -> None:
    def output(change: float) -> object:
        logits = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
        states = tuple(random(i, 2, 3, 4) for i in range(3))
        moved = states[1].clone()
        moved[1, 2] += change  # a padded token of a middle layer
        return type("O", (), {"logits": logits, "hidden_states": (states[0], moved, states[2])})()

    mask, ones = torch.tensor([[1, 1, 1], [1, 1, 0]]), torch.ones(2)
    head = HeadPlan("labels", "cls", (), ())
    assert float(distillation_loss(output(5.0), output(0.0), mask, head, ones)) == pytest.approx(0)
    full = torch.ones_like(mask)
    assert float(distillation_loss(output(5.0), output(0.0), full, head, ones)) > 0.1


@given(st.integers(1, 500), seeds)
@settings(deadline=None)
def test_no_row_both_tunes_and_scores(rows: int, seed: int) -> None:
    examples = [Example(str(i)) for i in range(rows)]
    tuning, held = split(examples, seed)
    assert sorted([*tuning, *held], key=lambda e: int(e.text)) == examples
    assert not {e.text for e in tuning} & {e.text for e in held}
    assert tuning and len(held) >= (100 if rows >= 200 else rows // 5)
    assert split(examples, seed) == (tuning, held)


def test_a_state_that_never_moves_costs_the_frozen_head_nothing() -> None:
    """Its weight was enormous, and so was the step of all the others once coded."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 16, generator=generator)
    x[:, 3] = 0.2 + 2e-9 * torch.randn(300, generator=generator)
    targets = (4 * x @ torch.randn(16, 5, generator=generator)).softmax(-1)
    layer = fit_to(KINDS["labels"], "mean", x, targets, 1e-3).stored().decode().layers[0]
    assert layer.bias is not None
    given = x @ torch.from_numpy(layer.dense().copy()).T + torch.from_numpy(layer.bias.copy())
    assert (given.argmax(1) == targets.argmax(1)).float().mean() > 0.95


def test_a_file_sorted_by_label_trains_on_all_its_classes() -> None:
    """Where there are more rows than are trained on, the first of them are not all that counts."""
    rows = [Example(f"{label} {i}", label) for label in "abcd" for i in range(100)]
    few = training_texts(rows, 40, seed=0)
    assert len(set(few)) == 40 and {e.label for e in few} == set("abcd")
    many = training_texts(rows, 2_000, seed=0)
    assert len(many) == 2_000 and sum(e.label is not None for e in many) == 1_600


def test_mixtures_are_made_of_the_words_there_are() -> None:
    texts = ["a b c d e", "v w x y z", "多言語の文"]
    made = mixtures([Example(t, "label") for t in texts], 200, seed=3)
    assert len(made) == 200 and all(e.text and e.label is None for e in made)
    assert {c for e in made for c in e.text} <= set("".join(texts))
    assert len({e.text for e in made}) > 50
    assert mixtures([Example("a b", text_pair="c d")], 5, 0)[0].text_pair


@pytest.mark.parametrize("needed", [4096, 5000, 9000, 100_000, 1 << 20])
def test_keep_finds_the_smallest_size(needed: int) -> None:
    tried: list[int] = []

    def attempt(size: int) -> tuple[int, CurvePoint] | None:
        tried.append(size)
        if size < 4500:
            return None
        return size, CurvePoint(size, 0.9, 1.0 if size >= needed else 0.5)

    best, curve = smallest_that_keeps(0.9, attempt)
    assert max(needed, 4500) <= best <= 1.2 * max(needed, 4500)
    assert [p.size for p in curve] == sorted(size for size in tried if size >= 4500)
    with pytest.raises(BudgetError) as refused:
        smallest_that_keeps(1.01, attempt)
    assert refused.value.code == "budget.keep"


def test_a_gain_knows_how_sure_it_is() -> None:
    gain = Gain(Score(0.5, 0.8), Score(0.1, 0.9), 400)
    assert gain.share(Score(9.0, 0.85)) == pytest.approx(0.5)
    assert gain.error(Score(9.0, 0.9)) == pytest.approx((0.9 * 0.1 / 400) ** 0.5 / 0.1)
    # Without labels nothing is known of the ceiling but its own answers.
    without_labels = Gain(Score(0.5, 0.8), Score(0.0, 1.0), 400)
    error = without_labels.error(Score(0.1, 0.95))
    assert error == pytest.approx((0.95 * 0.05 / 400) ** 0.5 / 0.2)
    assert (without_labels.error(Score(0.0, 1.0)) or 0) > 0
    assert (Gain(Score(0.5, 0.0), Score(0.1, 1.0), 1).error(Score(0.1, 1.0)) or 0) > 0.3


def test_a_gain_of_less_than_a_row_is_told_and_not_kept() -> None:
    """A tagger's answers are its tokens, of which a row has many."""
    gain = Gain(Score(0.5, 0.955), Score(0.1, 0.962), 100)
    assert gain.is_there and not gain.can_be_kept
    assert Gain(Score(0.5, 0.94), Score(0.1, 0.962), 100).can_be_kept
    assert not Gain(Score(0.5, 0.962), Score(0.1, 0.962), 100).is_there


def test_a_gain_in_nats_is_of_the_loss() -> None:
    gain = Gain(Score(3.0, 0.0), Score(1.0, 0.0), 100, NATS)
    assert gain.is_there and gain.share(Score(1.5, 0.0)) == pytest.approx(0.75)
    assert gain.share(Score(4.0, 1.0)) == pytest.approx(-0.5)
    assert gain.error(Score(1.5, 0.0)) is None
    assert not Gain(Score(3.0, 0.0), Score(1.0, 0.0), 100).is_there  # not one row more is right
    assert not Gain(Score(1.0, 0.0), Score(2.0, 1.0), 100, NATS).is_there


def test_short_texts_get_more_steps_up_to_twice_as_many() -> None:
    assert [steps_for(640, length) for length in (128, 22.5, 15, 11.25, 3)] == [
        640,
        640,
        960,
        1280,
        1280,
    ]


@given(st.integers(0, 400), st.integers(1, 300))
def test_rows_to_measure_on_are_as_many_as_asked_for_and_from_all_of_the_file(
    count: int, most: int
) -> None:
    places = evenly_spaced(range(count), most)
    assert len(places) == min(count, most) == len(set(places))
    gaps = np.diff([*places, count + places[0] if count else 0])
    assert not count or (places[0] == 0 and gaps.max() - gaps.min() <= 1)


@pytest.mark.parametrize("metric", [True, False])
def test_a_product_keeps_no_more_columns_than_other_deltas(
    monkeypatch: pytest.MonkeyPatch, metric: bool
) -> None:
    """The first ones: LoRAs of 1,024 ranks are trained, too."""
    monkeypatch.setattr(whitening, "MAX_COLUMNS", 2)
    b, a = random(0, 9, 4), random(1, 4, 7)
    statistics = some_statistics(9, 7, 2) if metric else Statistics()
    product, whole = (whitened_svd(delta, statistics) for delta in (LowRank(b, a), b @ a))
    assert len(product.u) == len(product.v) == 2
    assert torch.allclose(product.singular, whole.singular, rtol=1e-3)


@given(st.integers(1, 5), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_product_has_the_whitened_columns_of_its_delta(rank: int, seed: int) -> None:
    """They are found without a root of G or A, and they are the same."""
    generator = torch.Generator().manual_seed(seed)
    b, a = (torch.randn(*shape, generator=generator) for shape in ((9, rank), (rank, 7)))
    statistics = some_statistics(9, 7, seed)
    product = whitened_svd(LowRank(b, a), statistics)
    whole = whitened_svd(b @ a, statistics)
    assert torch.allclose(product.u.T @ product.v, b @ a, atol=1e-4)
    count = len(product.singular)
    assert count == rank
    assert torch.allclose(product.singular, whole.singular[:count], rtol=1e-3, atol=1e-4)
    weight = float(product.singular[0])
    ours, theirs = (columns.u[0].outer(columns.v[0]) for columns in (product, whole))
    if rank == 1 or weight > 1.05 * float(product.singular[1]):
        assert torch.allclose(ours, theirs, atol=1e-3 * weight)
