"""bitdelta: BitDelta (arXiv 2402.10193). Signs of the delta, one distilled scale a matrix.

ΔŴ = α sign(ΔW) with α = mean |ΔW|, its least-squares value; then scale distillation: the α of
all layers are trained together so that logits on calibration texts, which need no labels, come
near those of the fine-tuned model in squared error. The head is in fp16.
"""

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch.func import functional_call

from osd_edge.exporters.compare.peers import flat, signs
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.weight_sets import TUNED, Dense

TRAINING_STEPS = 200
_RATE = 0.02  # of Adam, on factors of the least-squares scales; falls to 0 linearly
_FILE = "bitdelta.safetensors"


class BitDelta:
    """1-bit signs, a scale a matrix, distilled."""

    name = "bitdelta"
    sized = False

    def __init__(self, steps: int = TRAINING_STEPS) -> None:
        self._steps = steps

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        deltas = {layer.name: source.delta(layer.name) for layer in source.layers}
        sign = {name: torch.where(delta > 0, 1.0, -1.0) for name, delta in deltas.items()}
        scales = {name: float(delta.abs().mean()) for name, delta in deltas.items()}
        head = flat.fp16_head(source)
        scales = distil_scales(source, sign, scales, flat.read_head(head), self._steps)
        tensors = head | {
            "sites": flat.site_table(source),
            "scales": np.array([scales[name] for name in deltas], np.float32),
            "signs": signs.pack(list(deltas.values())),
        }
        return Compressed({_FILE: flat.pack(tensors)}, {"steps": self._steps})

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """Signs times scales, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers = flat.listed_layers(tensors, backbone)
        sign = signs.unpack(tensors["signs"], layers)
        deltas = {
            layer.name: sign[layer.name].mul_(scale)
            for layer, scale in zip(layers, tensors["scales"].tolist(), strict=True)
        }
        return Restored(deltas, flat.read_head(tensors))


def distil_scales(
    source: Source,
    sign: Mapping[str, torch.Tensor],
    scales: Mapping[str, float],
    head: Mapping[str, torch.Tensor],
    steps: int,
) -> dict[str, float]:
    """Scales after `steps` Adam steps on batches of 16 calibration texts."""
    batches = batches_of(source.models, source.examples)
    model, kind = source.model, KINDS[source.models.head.kind]
    assert model is not None
    with model.at(TUNED) as module, torch.no_grad():
        targets = [module(**batch.tokens).logits for batch in batches]
    names = list(sign)
    base = {name: model.parameter(f"{name}.weight") for name in names}
    start = torch.tensor([scales[name] for name in names])
    factors = torch.ones(len(names), requires_grad=True)
    optimizer = torch.optim.Adam([factors], lr=_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, max(1, steps))
    with model.at(Dense({}, head)) as module:
        for i in _draws(len(batches), steps, source.options.seed):
            weights = {
                f"{model.path(name)}.weight": torch.addcmul(base[name], sign[name], a)
                for name, a in zip(names, factors * start, strict=True)
            }
            logits = functional_call(module, weights, (), dict(batches[i].tokens)).logits
            loss = kind.squared_error(logits, targets[i])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return dict(zip(names, (factors.detach() * start).tolist(), strict=True))


def _draws(batches: int, steps: int, seed: int) -> list[int]:
    """Draws the batch of each step: every batch once, in random order, before any comes again."""
    generator = random.Random(seed)
    order: list[int] = []
    while len(order) < steps:
        order += generator.sample(range(batches), batches)
    return order[:steps]
