"""Changes of biases and norms, quantised with the same global step as the columns of deltas.

A change of weight w is quantised with the step Δ / √w, as a small matrix is: w² is the mean, over
its numbers, of the second moment of the answers' gradient (`statistics` says of which answers), a
token's share of it. Without calibration rows all weigh 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.stored.latents import ROUNDING, Latent, quantize
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import TUNED
from osd_edge.formats.coding.scales import snap_scales


@dataclass(frozen=True)
class WeightedVector:
    """The change `[n]` of a vector, and the weight that says how much the whole of it matters."""

    change: torch.Tensor
    weight: float = 1.0


def vector_weights(
    model: TaskModel,
    names: Sequence[str],
    batches: Sequence[Batch],
    seed: int,
    progress: Progress = silent,
) -> dict[str, float]:
    """The weight of each vector by name, at the fine-tuned weights.

    The probe is drawn anew for each text, so that the square of a batch's gradient is on average
    the sum of those of its texts.
    """
    generator = torch.Generator().manual_seed(seed)
    sums = dict.fromkeys(names, 0.0)
    tokens, shapes = 0, list[torch.Size]()
    kind = KINDS[model.plan.kind]
    with model.at(TUNED) as module:
        embeddings = module.get_input_embeddings()  # of patches, where a batch is of pictures
        hook = embeddings.register_forward_hook(lambda *call: shapes.append(call[-1].shape[:2]))
        parameters = [model.parameter(name) for name in names]
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            for batch in progress(batches, "Weighing biases and norms"):
                logits = module(**batch.tokens).logits
                probe = kind.probe(logits, batch.mask, generator)
                found = torch.autograd.grad(probe, parameters, allow_unused=True)
                for name, gradient in zip(names, found, strict=True):
                    if gradient is not None:
                        sums[name] += float(gradient.double().square().mean())
                seen = math.prod(shapes.pop())
                tokens += seen if batch.mask is None else int(batch.mask.sum())
        finally:
            hook.remove()
            module.requires_grad_(False)
    return {name: math.sqrt(total / max(tokens, 1)) for name, total in sums.items()}


def vectors_at(vectors: Mapping[str, WeightedVector], step: float) -> dict[str, Latent]:
    """The vectors at the global step Δ, a row each; those that become zero are not in it."""
    scales = {name: _step(vector, step) for name, vector in vectors.items()}
    peaks = {name: float(vector.change.abs().max()) for name, vector in vectors.items()}
    alive = [name for name in vectors if peaks[name] >= (1 - ROUNDING) * scales[name]]
    if not alive:
        return {}
    snapped = snap_scales(np.array([scales[name] for name in alive]))
    found = {}
    for name, scale in zip(alive, snapped.tolist(), strict=True):
        row = vectors[name].change[None] / scale
        if quantize(row).any():
            found[name] = Latent(row, None, row.new_tensor([scale]))
    return found


def rescaled_vector(latent: Latent) -> Latent:
    """`latent` with the scale that brings its integers nearest to the change itself."""
    codes = quantize(latent.u)
    factor = (codes * latent.u).sum() / codes.square().sum()
    return Latent(latent.u, None, latent.scale * factor)


def coarsest_of_vectors(vectors: Mapping[str, WeightedVector]) -> float:
    """The Δ above which no vector is left; 0 without any."""
    return max(
        (float(x.change.abs().max()) * math.sqrt(x.weight) for x in vectors.values()), default=0.0
    ) / (1 - ROUNDING)


def _step(vector: WeightedVector, step: float) -> float:
    """The step of a vector: never nothing, nor beyond what a file can say."""
    return step / math.sqrt(vector.weight) if vector.weight else math.inf
