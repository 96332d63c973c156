"""Logits that are never in memory together give the losses and gradients of those that are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from osd_edge.exporters.kinds import deferred_logits
from osd_edge.exporters.kinds.deferred_logits import (
    DeferredLogits,
    drawn,
    likeliest,
    next_token_divergence,
    surprise,
)
from osd_edge.exporters.kinds.generate import NOT_COUNTED, Generate

VOCABULARY, HIDDEN = 11, 5


def some(tokens: int, seed: int, cap: float = 0.0) -> DeferredLogits:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(tokens, HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    return DeferredLogits(states, weight, torch.randn(VOCABULARY, generator=generator), cap)


def plain_divergence(given: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(reference ‖ given) of whole logits, the usual way."""
    p, q = given.log_softmax(-1), reference.log_softmax(-1)
    return functional.kl_div(p, q, log_target=True, reduction="batchmean")


@given(
    tokens=st.integers(1, 9),
    at_once=st.integers(1, 60),
    cap=st.sampled_from([0.0, 2.0]),
    heat=st.sampled_from([1.0, 2.0]),
)
@settings(max_examples=40, deadline=None)
def test_parts_give_the_losses_and_gradients_of_the_whole(
    tokens: int, at_once: int, cap: float, heat: float
) -> None:
    theirs = some(tokens, 2, cap) / heat
    reference = theirs.of(theirs.states)
    targets = torch.arange(tokens) % VOCABULARY
    own = some(tokens, 1, cap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deferred_logits, "_AT_ONCE", at_once)
        for divergence in (True, False):
            states = own.states.clone().requires_grad_(True)
            ours = DeferredLogits(states, own.weight, own.bias, cap) / heat
            assert len(list(ours.parts())) == -(-tokens // max(1, at_once // VOCABULARY))
            logits = ours.of(states)
            if divergence:
                loss = next_token_divergence(ours, theirs)
                expected = plain_divergence(logits, reference)
            else:
                loss = surprise(ours, targets)
                expected = functional.cross_entropy(logits, targets, reduction="sum")
            assert torch.allclose(loss, expected, atol=1e-5)
            (found,) = torch.autograd.grad(3 * loss, states)
            (right,) = torch.autograd.grad(3 * expected, states)
            assert torch.allclose(found, right, atol=1e-5)
            assert torch.equal(likeliest(ours), logits.argmax(-1))


def test_tokens_are_drawn_by_their_chances() -> None:
    one = some(1, 3)
    many = DeferredLogits(one.states.expand(20_000, -1), one.weight, one.bias)
    counts = drawn(many, torch.Generator().manual_seed(0)).bincount(minlength=VOCABULARY)
    assert torch.allclose(counts / 20_000, one.of(one.states)[0].softmax(-1), atol=0.015)


def test_the_probe_of_a_model_that_writes_is_fishers_information() -> None:
    """E over drawn tokens of the gradient's square is that of the likelihood's own curvature."""
    one = some(1, 4)
    states = one.states.expand(20_000, -1).clone().requires_grad_(True)
    many = DeferredLogits(states, one.weight, one.bias)
    loss = Generate().probe(many, None, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(loss, states)
    found = gradient.T @ gradient / len(states)
    p = one.of(one.states)[0].softmax(-1)
    expected = one.weight.T @ (p.diag() - p.outer(p)) @ one.weight
    assert torch.allclose(found, expected, atol=0.05 * float(expected.diagonal().max()))


def test_a_row_is_right_from_its_first_token_to_its_last() -> None:
    kind, logits = Generate(), some(5, 5)
    tokens = likeliest(logits)
    labels = torch.full((3, 4), NOT_COUNTED)
    labels[0, 1:3], labels[1, 0], labels[2, :2] = tokens[:2], tokens[2], tokens[3:]
    right = kind.judged(logits, labels)
    assert (right.right, right.answers) == (3, 5)
    assert right.next_tokens is not None and torch.equal(right.next_tokens, tokens)
    assert right.loss == pytest.approx(float(surprise(logits, tokens)), rel=1e-5)
    labels[2, 1] = (tokens[4] + 1) % VOCABULARY
    wrong = kind.judged(logits, labels)
    assert wrong.right == 2 and wrong.loss > right.loss
