"""A head over the base as it is: what a task needs where it needs no delta at all.

Regression on the base's states, towards the fine-tuned model's own answers, so no labels are
needed: multinomial logistic for labels, logistic for each of several labels, least squares for
numbers and for the logits of spans. For an embedding it is the base's own pooling. It is both the
floor that a delta has to beat and the whole of a head-only bundle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from osd_edge.exporters.kinds import KINDS, Kind
from osd_edge.exporters.methods.stored.integers import integer_layers
from osd_edge.exporters.methods.stored.latents import Latent, Latents
from osd_edge.exporters.scoring.batches import Batch, mask_of
from osd_edge.exporters.scoring.calibrated_task import evenly_spaced
from osd_edge.exporters.scoring.headed_model import HeadedOutput
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import BASE, TUNED
from osd_edge.formats.bundle.model import StoredHead
from osd_edge.formats.heads import Head, apply_head

POOLINGS = ("mean", "cls", "last")  # of a decoder's tokens only the last has seen the whole text
_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)  # L2 on standardised features, of the mean loss
_ITERATIONS = 100
_FOLD = 4  # one row in four chooses pooling and decay
_MOST_ROWS = 8192  # tokens are many, and more of them change the fit little
_STILL = 0.02  # of the median spread of a state: below it one is left out
_LEVELS = 8  # integers to a root mean square of the weight: near lossless


@dataclass(frozen=True)
class FrozenHead:
    """Logits = x Wᵀ + b of `pooling`: `weight` `[labels, hidden]`, `bias` `[labels]`."""

    kind: str
    pooling: str
    weight: torch.Tensor
    bias: torch.Tensor

    def stored(self) -> StoredHead:
        """The head as a bundle stores it."""
        step = float(self.weight.square().mean().sqrt()) / _LEVELS or 1.0
        latent = Latent(self.weight / step, None, self.weight.new_full((len(self.weight),), step))
        layers = integer_layers(Latents({}, (latent,), (self.bias,)), [None])
        return StoredHead(self.kind, self.pooling, tuple(layers))


def fit_frozen_head(model: TaskModel, batches: Sequence[Batch], decoder: bool) -> StoredHead:
    """The best head over the frozen base, chosen and fitted on `batches` alone."""
    kind = KINDS[model.plan.kind]
    if kind.format.vector:
        return StoredHead(kind.name, model.plan.pooling, (), model.plan.normalize)
    if kind.format.per_token:
        poolings: tuple[str, ...] = ("none",)
    else:
        poolings = POOLINGS[2:] if decoder else POOLINGS[:2]
    targets = kind.targets(_answers(model, batches))
    features = frozen_features(model, batches, poolings)
    chosen = evenly_spaced(range(len(targets)), _MOST_ROWS)
    targets = targets[chosen]
    features = {name: x[chosen] for name, x in features.items()}
    # Batches are sorted by length, so every fourth row is a fair sample.
    chooses = torch.arange(len(targets)) % _FOLD == _FOLD - 1
    fits = ~chooses if chooses.any() else chooses | True

    def loss(pooling: str, decay: float) -> float:
        head = fit_to(kind, pooling, features[pooling][fits], targets[fits], decay)
        given = features[pooling][~fits] @ head.weight.T + head.bias
        return float(kind.target_loss(given, targets[~fits]))

    tried = [(p, d) for p in poolings for d in _DECAYS]
    pooling, decay = min(tried, key=lambda pair: loss(*pair)) if chooses.any() else tried[-1]
    return fit_to(kind, pooling, features[pooling], targets, decay).stored()


class HeadOverBase:
    """A bundle's head over the base as it is, called as a task's model is."""

    def __init__(self, module: Any, head: Head) -> None:
        """Take a task's torch `module` at base weights, which it must keep while this is called."""
        self._backbone, self._head = module.base_model, head

    def __call__(self, **tokens: torch.Tensor) -> HeadedOutput:
        """The answers to a batch of tokens."""
        states = self._backbone(**tokens).last_hidden_state
        mask = mask_of(tokens, states)
        answers = apply_head(self._head, states.numpy(), mask.numpy(), None)
        return HeadedOutput(torch.from_numpy(answers))


def frozen_features(
    model: TaskModel, batches: Sequence[Batch], poolings: Sequence[str] = POOLINGS
) -> dict[str, torch.Tensor]:
    """The base's last states `[rows, hidden]` by pooling.

    For the pooling `none` a row is a token that is no padding.
    """
    pooled: dict[str, list[torch.Tensor]] = {name: [] for name in poolings}
    with model.at(BASE) as module, torch.inference_mode():
        for batch in batches:
            states = module.base_model(**batch.tokens).last_hidden_state
            mask = mask_of(batch.tokens, states).float()
            last = (torch.arange(mask.shape[1]) * mask).argmax(1)
            for name, parts in pooled.items():
                if name == "none":
                    parts.append(states[mask.bool()])
                elif name == "mean":
                    parts.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
                elif name == "cls":
                    parts.append(states[:, 0])
                else:
                    parts.append(states[torch.arange(len(states)), last])
    return {name: torch.cat(parts).clone() for name, parts in pooled.items()}


def _answers(model: TaskModel, batches: Sequence[Batch]) -> torch.Tensor:
    """Logits `[rows, labels]`, a row for each token where tokens have their own."""
    found = []
    with model.at(TUNED) as module, torch.inference_mode():
        for batch in batches:
            logits = module(**batch.tokens).logits
            if logits.ndim == 3:
                logits = logits[mask_of(batch.tokens, logits).bool()]
            found.append(logits)
    return torch.cat(found).clone()


def fit_to(
    kind: Kind, pooling: str, x: torch.Tensor, targets: torch.Tensor, decay: float
) -> FrozenHead:
    """The head with L2 `decay` whose answers to states x `[rows, hidden]` are nearest `targets`."""
    mean, spread = x.mean(0), x.std(0, correction=0)
    # A state that hardly moves says nothing, and its weight would be as large as it is still: the
    # step of all the others. MiniLM has three that never move.
    moves = spread > _STILL * spread.median()
    inverse = torch.where(moves, 1 / spread, 0.0)
    z = (x - mean) * inverse
    weight = torch.zeros(targets.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = kind.target_loss(z @ weight.T + bias, targets)
        loss = loss + decay * weight.square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scaled = (weight * inverse).detach()
    return FrozenHead(kind.name, pooling, scaled, (bias - scaled @ mean).detach())
