"""How far a model's answers are from the fine-tuned model's, for each kind of task.

Logits come batch by batch: `[rows, labels]`, or `[rows, tokens, labels]` for kinds with logits
for every token, with the mask `[rows, tokens]` that says which are no padding.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from osd_edge.formats.heads import TOKEN_KINDS

Logits = Sequence[torch.Tensor]
Masks = Sequence[torch.Tensor | None]
_LEAST_VARIANCE = 1e-6


def answer_loss(
    kind: str, given: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """The mean divergence of one batch, with a gradient to `given`.

    KL(reference ‖ given) in nats: of the labels of a row or token, of each label of a multi-label
    row added up, of the places where a span starts and ends. Regression: the squared error over
    the reference's variance. Embeddings: half the squared distance of vectors of length 1, which
    is 1 − cosine.
    """
    if kind in TOKEN_KINDS:
        assert mask is not None
    if kind == "token-labels":
        given, reference = given[mask.bool()], reference[mask.bool()]  # type: ignore[union-attr]
    if kind == "multi-label":
        ours, theirs = (torch.stack((x, -x), -1) for x in (given, reference))
        ours, theirs = functional.logsigmoid(ours), functional.logsigmoid(theirs)
        return functional.kl_div(ours, theirs, reduction="sum", log_target=True) / len(given)
    if kind == "regression":
        variance = reference.var(0, correction=0).clamp_min(_LEAST_VARIANCE)
        return ((given - reference).square() / variance).sum(-1).mean()
    if kind == "embedding":
        return (1 - functional.cosine_similarity(given, reference)).mean()
    if kind == "spans":
        # Every token is a place: its label is which one, for the start and for the end.
        outside = ~mask.bool()[:, None]  # type: ignore[union-attr]
        given, reference = (
            x.transpose(1, 2).masked_fill(outside, -1e4).flatten(0, 1) for x in (given, reference)
        )
        return 2 * _divergence(given, reference)
    return _divergence(given, reference)


def agreement(kind: str, given: Logits, reference: Logits, masks: Masks) -> tuple[float, float]:
    """Divergence and agreement, 0 to 1, over a whole set.

    Agreement is the share of rows (tokens, spans, labels of multi-label rows) with the reference's
    answer; for regression the share of the reference's variance that is explained; for
    embeddings the mean cosine, none of them below 0.
    """
    if kind == "regression":
        loss = float(answer_loss(kind, torch.cat(list(given)), torch.cat(list(reference)), None))
        outputs = given[0].shape[-1]
        return loss, min(max(0.0, 1 - loss / outputs), 1.0)
    total, right, weight, count = 0.0, 0.0, 0, 0
    for ours, theirs, mask in zip(given, reference, masks, strict=True):
        size = int(mask.sum()) if kind == "token-labels" and mask is not None else len(ours)
        total += float(answer_loss(kind, ours, theirs, mask)) * size
        weight += size
        if kind == "embedding":
            same = functional.cosine_similarity(ours, theirs).clamp_min(0)
        else:
            same = _answers(kind, ours, mask) == _answers(kind, theirs, mask)
            same = same.all(-1) if kind == "spans" else same
        right += float(same.sum())
        count += same.numel()
    return max(total / weight, 0.0), min(right / count, 1.0)


def _answers(kind: str, logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if kind == "multi-label":
        return logits > 0
    if kind == "token-labels" and mask is not None:
        return logits[mask.bool()].argmax(-1)
    if kind == "spans" and mask is not None:
        return logits.masked_fill(~mask.bool()[..., None], -torch.inf).argmax(1)
    return logits.argmax(-1)


def _divergence(given: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return functional.kl_div(
        given.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="batchmean"
    )
