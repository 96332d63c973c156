"""Second moments of a layer's inputs and gradients: how much each direction matters to answers.

For a layer with inputs x and output gradients g, over the tokens of the calibration set:
A = E[x xᵀ] `[d, d]` and G = E[g gᵀ] `[n, n]`. g is the gradient of the kind's `probe`, which needs
no labels and one backward pass: ⟨v, logits⟩ with v ~ N(0, I), which gives the second moment under
the logits' Euclidean metric; of a model that writes the surprise of tokens drawn from its own
distribution, which gives Fisher's information. To second order an error E in the weight then costs
tr(G E A Eᵀ), the Kronecker-factored approximation of Martens and Grosse (arXiv 1503.05671).
Of wide layers A or G are sketches (`moments`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds import Kind
from osd_edge.exporters.methods.osd_rd.moments import Moment, RunningMoment
from osd_edge.exporters.scoring.batches import Batch

DAMPING = 0.03  # of the mean diagonal, added to it: directions the set never showed count a little


@dataclass(frozen=True)
class Statistics:
    """A `[d, d]` and G `[n, n]`, of mean diagonal 1 and damped; `weight` is what that took out.

    weight = √(mean diag G · mean diag A): how much the layer as a whole matters. Without data
    A and G are identities, given as None, and the weight is 1.
    """

    a: Moment = None
    g: Moment = None
    weight: float = 1.0

    def load(self) -> "Statistics":
        """Gives itself, since the statistics are in memory."""
        return self


class _Moments:
    """Sums of x xᵀ and g gᵀ of one layer, over tokens that carry gradient."""

    def __init__(self) -> None:
        self.inputs: list[torch.Tensor] = []
        self.a, self.g = RunningMoment(seed=0), RunningMoment(seed=1)

    def take(self, gradient: torch.Tensor) -> None:
        x, g = self.inputs.pop(), gradient.detach().reshape(-1, gradient.shape[-1])
        # In the last layer of a classifier only the pooled token has a gradient at all.
        live = g.abs().sum(1) > 0
        self.a.add(x[live])
        self.g.add(g[live])

    def statistics(self) -> Statistics:
        a, g = self.a.normalized(DAMPING), self.g.normalized(DAMPING)
        if a is None or g is None:
            return Statistics()
        return Statistics(a[0], g[0], (a[1] * g[1]) ** 0.5)


def collect_statistics(
    module: Any,
    layers: Mapping[str, torch.nn.Module],
    batches: Sequence[Batch],
    seed: int,
    progress: Progress = silent,
    *,
    kind: Kind,
) -> dict[str, Statistics]:
    """Statistics of `layers` (by name) of the model `module`, at the weights it holds now."""
    generator = torch.Generator().manual_seed(seed)
    moments = {name: _Moments() for name in layers}
    hooks = [layer.register_forward_hook(_watch(moments[name])) for name, layer in layers.items()]
    # Gradients flow from what the embeddings give: their own, as wide as the vocabulary, are not
    # needed.
    given: list[torch.Tensor] = []
    hooks.append(module.get_input_embeddings().register_forward_hook(_source_of_gradients(given)))
    try:
        for batch in progress(batches, "Statistics"):
            logits = module(**batch.tokens).logits
            torch.autograd.grad(kind.probe(logits, batch.mask, generator), given, allow_unused=True)
            given.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: moment.statistics() for name, moment in moments.items()}


def _source_of_gradients(given: list[torch.Tensor]) -> Any:
    def forward(_: Any, inputs: Any, output: torch.Tensor) -> None:
        given.append(output.requires_grad_(True))

    return forward


def _watch(moments: _Moments) -> Any:
    def forward(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if not output.requires_grad:
            return  # a second use that no text flows through: DeBERTa's relative positions
        moments.inputs.append(inputs[0].detach().reshape(-1, inputs[0].shape[-1]))
        output.register_hook(moments.take)  # type: ignore[no-untyped-call]

    return forward
