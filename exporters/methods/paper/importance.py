"""Importance of factor elements from gradients: the scores by which OSD keeps them.

Z = |∂L/∂W ⊙ ΔW| `[n, d]` is the first-order damage of removing an element of the delta, with L
the loss on labelled calibration rows. Pushed through the other factor it scores the factors'
elements: score(U_ik) = |U_ik| Σ_j Z_ij |V_jk| and score(V_jk) = |V_jk| Σ_i Z_ij |U_ik|.
(Our reading of arXiv 2511.02681.)

The gradient is taken halfway between base and fine-tuned weights, W_base + ΔW / 2: the damage of
removing an element is an integral from one to the other, which the midpoint rule gets right to
second order. At the fine-tuned weights themselves the rows that the model has learned have
almost no gradient left, and the scores were worse than plain magnitudes (docs/method.md).
"""

from collections.abc import Callable, Mapping

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.methods.factorize import Factors
from osd_edge.exporters.methods.paper.selection import Scores
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.streamed import weight_of
from osd_edge.exporters.scoring.calibration import Calibration
from osd_edge.exporters.scoring.task_model import TaskModel
from osd_edge.exporters.scoring.weight_sets import Midpoint


def importance_scores(
    model: TaskModel,
    backbone: Backbone,
    calibration: Calibration,
    factors: Mapping[str, Factors],
    progress: Progress = silent,
) -> Scores:
    """Scores of every element of U `[k, n]` and V `[k, d]`, by site.

    |∂L/∂W| is taken batch by batch and added up, so that
    gradients of opposite batches do not cancel. Both sums over Z are linear in it, so they are
    taken as each layer's gradient appears, which is freed at once: no more than one layer's
    gradient and Z are in memory.
    """
    totals = {name: (torch.zeros_like(f.u), torch.zeros_like(f.v)) for name, f in factors.items()}
    with model.at(Midpoint(list(factors))) as module:
        takers = {
            name: _adder(name, backbone, module.get_submodule(model.path(name)), f, totals[name])
            for name, f in factors.items()
        }
        with model.gradients_to(takers):
            for batch in progress(calibration.batches, "Importance"):
                loss = calibration.loss(batch, module(**batch.tokens).logits)
                torch.autograd.backward(loss)
    return {
        name: (factors[name].u.abs() * u, factors[name].v.abs() * v)
        for name, (u, v) in totals.items()
    }


def _adder(
    name: str,
    backbone: Backbone,
    layer: torch.nn.Module,
    factors: Factors,
    totals: tuple[torch.Tensor, torch.Tensor],
) -> Callable[[torch.Tensor], None]:
    abs_u, abs_v = factors.u.abs(), factors.v.abs()

    def add(gradient: torch.Tensor) -> None:
        with torch.no_grad():
            base = backbone.checkpoint.values(f"{name}.weight")
            z = (gradient * (weight_of(layer) - base)).abs()  # half of ΔW: only ranks matter
            totals[0].add_(abs_v @ z.T)
            totals[1].add_(abs_u @ z)

    return add
