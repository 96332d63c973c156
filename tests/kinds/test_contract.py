"""Every kind of task on the workstation keeps its contract: loss, agreement and padding."""

import pytest
import torch

from osd_edge.errors import InputError
from osd_edge.exporters.kinds import KINDS, Kind, find_kind
from osd_edge.formats.kinds import KINDS as FORMATS

ROWS, TOKENS, LABELS = 6, 5, 3
MASK = torch.arange(TOKENS) < torch.tensor([5, 4, 3, 5, 2, 1])[:, None]

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def logits(kind: Kind, seed: int) -> torch.Tensor:
    shape = (ROWS, TOKENS, LABELS) if kind.format.per_token else (ROWS, LABELS)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    loss, share = kind.agreement([reference], [reference], [mask_of(kind)])
    assert loss == pytest.approx(0, abs=1e-6) and share == pytest.approx(1)


@each_kind
def test_other_answers_have_a_loss_that_leads_back(kind: Kind) -> None:
    """A step against its gradient comes nearer to the reference."""
    given, reference = logits(kind, 1).requires_grad_(True), logits(kind, 0)
    loss = kind.loss(given, reference, mask_of(kind))
    (gradient,) = torch.autograd.grad(loss, given)
    with torch.no_grad():
        nearer = kind.loss(given - 0.01 * gradient, reference, mask_of(kind))
    assert 0 < float(nearer) < float(loss.detach())
    _, share = kind.agreement([given.detach()], [reference], [mask_of(kind)])
    assert 0 <= share < 1


@each_kind
def test_batches_count_by_their_answers(kind: Kind) -> None:
    """Rows give the same figures in one batch and in two of other sizes."""
    given, reference, mask = logits(kind, 1), logits(kind, 0), mask_of(kind)
    whole = kind.agreement([given], [reference], [mask])
    masks = [None, None] if mask is None else [mask[:2], mask[2:]]
    halves = kind.agreement([given[:2], given[2:]], [reference[:2], reference[2:]], masks)
    assert halves == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.format.per_token])
def test_padding_counts_nowhere(kind: Kind) -> None:
    given, reference = logits(kind, 1), logits(kind, 0)
    before = kind.agreement([given], [reference], [MASK])
    padded = given.masked_fill(~MASK[..., None], 3.0)
    assert kind.agreement([padded], [reference], [MASK]) == before


@each_kind
def test_a_head_has_no_better_answer_than_its_targets(kind: Kind) -> None:
    """The loss of a head over the frozen base is least at the logits that the targets are of."""
    reference = logits(kind, 0).flatten(0, -2)
    targets = kind.targets(reference)
    least = kind.target_loss(reference, targets)
    assert least < kind.target_loss(logits(kind, 1).flatten(0, -2), targets)
