"""The loss of a student against the fine-tuned model: in its answers and on the way there.

L = T² D(teacher ‖ student; both at temperature T) + 4 H. H is the mean over layers of the squared
difference of hidden states, divided by their variance over many texts (over those of one batch it
may be next to nothing: a batch of the shortest texts is the same word many times). D is the
divergence for the kind of task, KL for labels; numbers and embeddings have no temperature.

With few classes the answers alone say little about a text (one number for two classes); the
hidden states say much more, so the student learns to follow the teacher on texts it has not seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.models.head_plan import HeadPlan
from osd_edge.exporters.scoring.batches import mask_of

TEMPERATURE = 2.0
HIDDEN_WEIGHT = 4.0


def distillation_loss(
    student: Any, teacher: Any, mask: torch.Tensor, head: HeadPlan, spread: torch.Tensor
) -> torch.Tensor:
    """The loss of a batch from two model outputs with hidden states; `mask` `[batch, tokens]`.

    `spread` `[layers]` is the variance of each layer's states, from `hidden_spread`.
    Of the last layer only the tokens that the head reads count.
    """
    kind = KINDS[head.kind]
    heat = TEMPERATURE if kind.chances else 1.0
    answers = kind.loss(student.logits / heat, teacher.logits / heat, mask)
    pairs = zip(
        _states(student, mask, head.pooling),
        _states(teacher, mask, head.pooling),
        spread,
        strict=True,
    )
    hidden = torch.stack([(ours - theirs).square().mean() / s for ours, theirs, s in pairs])
    return heat**2 * answers + HIDDEN_WEIGHT * hidden.mean()


def hidden_spread(
    teacher: Any, batches: Sequence[Mapping[str, torch.Tensor]], pooling: str
) -> torch.Tensor:
    """Variance `[layers]` of the states that the loss compares, over the tokens of `batches`.

    States are summed up batch by batch: together they would take a gigabyte of a language model.
    """
    sums: list[torch.Tensor] = []
    squares: list[float] = []
    counts: list[int] = []  # of tokens, of which fewer may count in the last layer
    with torch.no_grad():
        for inputs in batches:
            output = teacher(**inputs, output_hidden_states=True)
            mask = mask_of(inputs, output.hidden_states[-1])
            states = [x.double() for x in _states(output, mask, pooling)]
            if not sums:
                sums = [x.new_zeros(x.shape[1]) for x in states]
                squares, counts = [0.0] * len(states), [0] * len(states)
            for i, x in enumerate(states):
                sums[i] += x.sum(0)
                squares[i] += float(x.square().sum())
                counts[i] += len(x)
    spread = [
        square / (count * len(total)) - float((total / count).square().mean())
        for total, square, count in zip(sums, squares, counts, strict=True)
    ]
    return torch.tensor(spread).clamp_min(1e-6)


def _states(output: Any, mask: torch.Tensor, pooling: str) -> list[torch.Tensor]:
    """States `[tokens, hidden]` of each layer: of the last one those that the head reads."""
    *middle, last = output.hidden_states[1:]
    read = output.logits.states if pooling == "logits" else last[_read_tokens(mask, pooling)]
    return [*(x[mask.bool()] for x in middle), read]


def _read_tokens(mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """The tokens `[batch, tokens]` that a head with this pooling reads."""
    tokens = mask.bool()
    if pooling in ("mean", "none"):
        return tokens
    positions = torch.arange(mask.shape[1])
    last = (positions * tokens).amax(1) if pooling == "last" else torch.zeros(len(mask))
    return positions[None] == last[:, None]
