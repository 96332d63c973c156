"""A head over the base as it is: what a task needs where it needs no delta at all.

Multinomial logistic regression on the base's pooled states, towards the fine-tuned model's own
answers, so no labels are needed. It is both the floor that a delta has to beat and the whole of
a head-only bundle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from osd_edge.bundle import CodedHead
from osd_edge.exporters.calibration import Batch, Score
from osd_edge.exporters.rd.integers import integer_layers
from osd_edge.exporters.rd.latents import Latent, Latents
from osd_edge.exporters.task_model import TaskModel

POOLINGS = ("mean", "cls", "last")  # of a decoder's tokens only the last has seen the whole text
_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)  # L2 on standardised features, of the mean loss
_ITERATIONS = 100
_FOLD = 4  # one row in four chooses pooling and decay
_LEVELS = 8  # integers to a root mean square of the weight: near lossless


@dataclass(frozen=True)
class FrozenHead:
    """Logits = x Wᵀ + b of `pooling`: `weight` `[labels, hidden]`, `bias` `[labels]`."""

    pooling: str
    weight: torch.Tensor
    bias: torch.Tensor

    def coded(self) -> CodedHead:
        """The head as a bundle stores it."""
        step = float(self.weight.square().mean().sqrt()) / _LEVELS or 1.0
        latent = Latent(self.weight / step, None, self.weight.new_full((len(self.weight),), step))
        layers = integer_layers(Latents({}, (latent,), (self.bias,)), [None])
        return CodedHead("labels", self.pooling, tuple(layers))


def fit_frozen_head(model: TaskModel, batches: Sequence[Batch], decoder: bool) -> FrozenHead:
    """The best head over the frozen base, chosen and fitted on `batches` alone."""
    targets = _answers(model, batches).softmax(-1)
    features = frozen_features(model, batches)
    poolings = POOLINGS[2:] if decoder else POOLINGS[:2]
    # Batches are sorted by length, so every fourth row is a fair sample.
    chooses = torch.arange(len(targets)) % _FOLD == _FOLD - 1
    fits = ~chooses if chooses.any() else chooses | True

    def loss(pooling: str, decay: float) -> float:
        head = _fit(pooling, features[pooling][fits], targets[fits], decay)
        given = features[pooling][~fits] @ head.weight.T + head.bias
        return float(functional.cross_entropy(given, targets[~fits]))

    tried = [(p, d) for p in poolings for d in _DECAYS]
    pooling, decay = min(tried, key=lambda pair: loss(*pair)) if chooses.any() else tried[-1]
    return _fit(pooling, features[pooling], targets, decay)


def score_frozen_head(
    head: CodedHead, model: TaskModel, batches: Sequence[Batch], reference: torch.Tensor
) -> Score:
    """Loss and accuracy as `Calibration` has them; `reference` `[rows]` are the right answers."""
    layer = head.decode().layers[0]
    assert layer.bias is not None
    x = frozen_features(model, batches)[head.pooling]
    logits = x @ torch.from_numpy(layer.dense()).T + torch.from_numpy(layer.bias.copy())
    accuracy = float((logits.argmax(-1) == reference).float().mean())
    return Score(float(functional.cross_entropy(logits, reference)), accuracy)


def frozen_features(model: TaskModel, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """The base's last states `[rows, hidden]` by pooling; leaves `model` at base weights."""
    model.set_delta(())
    pooled: dict[str, list[torch.Tensor]] = {name: [] for name in POOLINGS}
    backbone = model.module.base_model
    with torch.inference_mode():
        for batch in batches:
            states = backbone(**batch.tokens).last_hidden_state
            mask = batch.tokens["attention_mask"].float()
            places = (torch.arange(mask.shape[1]) * mask).argmax(1)
            pooled["mean"].append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
            pooled["cls"].append(states[:, 0])
            pooled["last"].append(states[torch.arange(len(states)), places])
    return {name: torch.cat(parts).clone() for name, parts in pooled.items()}


def _answers(model: TaskModel, batches: Sequence[Batch]) -> torch.Tensor:
    model.set_tuned()
    with torch.inference_mode():
        return torch.cat([model.module(**batch.tokens).logits for batch in batches]).clone()


def _fit(pooling: str, x: torch.Tensor, targets: torch.Tensor, decay: float) -> FrozenHead:
    mean, spread = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    z = (x - mean) / spread
    weight = torch.zeros(targets.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(z @ weight.T + bias, targets)
        loss = loss + decay * weight.square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scaled = (weight / spread).detach()
    return FrozenHead(pooling, scaled, (bias - scaled @ mean).detach())
