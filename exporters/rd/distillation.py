"""How far a student is from the fine-tuned model on a batch: in its answers and on the way there.

L = T² KL(teacher ‖ student; both at temperature T) + mean over layers of the squared difference of
hidden states, divided by their variance over the batch's tokens. With few classes the answers
alone say little about a text (one number for two classes); the hidden states say much more, so
the student learns to follow the teacher on texts it has not seen.
"""

from typing import Any

import torch
from torch.nn import functional

TEMPERATURE = 2.0
HIDDEN_WEIGHT = 1.0


def distillation_loss(student: Any, teacher: Any, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """The loss of a batch from two model outputs with hidden states; `mask` `[batch, tokens]`.

    `pooling` is the head's: of the last layer only the token that the head reads counts.
    """
    answers = functional.kl_div(
        (student.logits / TEMPERATURE).log_softmax(-1),
        (teacher.logits / TEMPERATURE).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    tokens = mask.bool()
    pairs = list(zip(student.hidden_states[1:], teacher.hidden_states[1:], strict=True))
    read = _read_tokens(mask, pooling)
    hidden = torch.stack(
        [
            _relative_error(ours[where], theirs[where])
            for (ours, theirs), where in zip(
                pairs, [tokens] * (len(pairs) - 1) + [read], strict=True
            )
        ]
    )
    return TEMPERATURE**2 * answers + HIDDEN_WEIGHT * hidden.mean()


def _relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Squared error over variance, of states `[tokens, hidden]`."""
    spread = (theirs - theirs.mean(0)).square().mean()
    return (ours - theirs).square().mean() / spread.clamp_min(1e-6)


def _read_tokens(mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Which tokens `[batch, tokens]` a head with this pooling reads."""
    tokens = mask.bool()
    if pooling == "mean":
        return tokens
    places = torch.arange(mask.shape[1])
    last = (places * tokens).amax(1) if pooling == "last" else torch.zeros(len(mask))
    return places[None] == last[:, None]
