"""Every kind of task on the workstation keeps its contract: loss, agreement and padding."""

from typing import Any

import pytest
import torch

from osd_edge.errors import InputError
from osd_edge.exporters.kinds import KINDS, Kind, find_kind
from osd_edge.exporters.kinds.deferred_logits import DeferredLogits
from osd_edge.formats.kinds import KINDS as FORMATS

ROWS, TOKENS, LABELS = 6, 5, 3
MASK = torch.arange(TOKENS) < torch.tensor([5, 4, 3, 5, 2, 1])[:, None]

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def logits(kind: Kind, seed: int) -> torch.Tensor:
    shape = (ROWS, TOKENS, LABELS) if kind.format.per_token else (ROWS, LABELS)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answered(kind: Kind, given: torch.Tensor) -> Any:
    """Logits as a model of the kind gives them: deferred, where a vocabulary is wide."""
    return DeferredLogits(given, torch.eye(LABELS)) if kind.format.writes else given


def mask_of(kind: Kind) -> torch.Tensor | None:
    return MASK if kind.format.per_token else None


def test_every_kind_of_the_format_has_an_object_here() -> None:
    assert list(KINDS) == list(FORMATS)
    assert all(find_kind(name).name == name for name in KINDS)
    with pytest.raises(InputError) as refusal:
        find_kind("haiku")
    assert refusal.value.code == "input.kind"


@each_kind
def test_the_reference_agrees_with_itself(kind: Kind) -> None:
    reference = logits(kind, 0)
    given = answered(kind, reference)
    loss, share = kind.agreement([given], [given], [mask_of(kind)])
    assert loss == pytest.approx(0, abs=1e-6) and share == pytest.approx(1)


@each_kind
def test_other_answers_have_a_loss_that_leads_back(kind: Kind) -> None:
    """A step against its gradient comes nearer to the reference."""
    given, reference = logits(kind, 1).requires_grad_(True), logits(kind, 0)
    expected = answered(kind, reference)
    loss = kind.loss(answered(kind, given), expected, mask_of(kind))
    (gradient,) = torch.autograd.grad(loss, given)
    with torch.no_grad():
        step = answered(kind, given - 0.01 * gradient)
        nearer = kind.loss(step, expected, mask_of(kind))
    assert 0 < float(nearer) < float(loss.detach())
    ours = answered(kind, given.detach())
    _, share = kind.agreement([ours], [expected], [mask_of(kind)])
    assert 0 <= share < 1


@each_kind
def test_batches_count_by_their_answers(kind: Kind) -> None:
    """Rows give the same figures in one batch and in two of other sizes."""
    given, reference, mask = logits(kind, 1), logits(kind, 0), mask_of(kind)
    whole = kind.agreement([answered(kind, given)], [answered(kind, reference)], [mask])
    masks = [None, None] if mask is None else [mask[:2], mask[2:]]
    ours, theirs = ([answered(kind, part) for part in (x[:2], x[2:])] for x in (given, reference))
    halves = kind.agreement(ours, theirs, masks)
    assert halves == pytest.approx(whole, rel=1e-5)
    total, answers = kind.summed_loss(ours, theirs, masks)
    assert total / answers == pytest.approx(whole[0], rel=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.format.per_token])
def test_padding_counts_nowhere(kind: Kind) -> None:
    given, reference = logits(kind, 1), logits(kind, 0)
    before = kind.agreement([given], [reference], [MASK])
    padded = given.masked_fill(~MASK[..., None], 3.0)
    assert kind.agreement([padded], [reference], [MASK]) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if not kind.format.writes])
def test_a_head_has_no_better_answer_than_its_targets(kind: Kind) -> None:
    """The loss of a head over the frozen base is least at the logits that the targets are of."""
    reference = logits(kind, 0).flatten(0, -2)
    targets = kind.targets(reference)
    least = kind.target_loss(reference, targets)
    assert least < kind.target_loss(logits(kind, 1).flatten(0, -2), targets)
