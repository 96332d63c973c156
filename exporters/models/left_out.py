"""The changes of a fine-tuned model that a bundle has no place for: all but its linear layers'.

Embeddings, norms and biases stay the base's (but for norms and biases that the bundle carries), and
so does the layer that gives the logits of the next token, which is no part of the backbone.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.compatibility import used_parameters
from osd_edge.exporters.models.head_plan import HeadPlan
from osd_edge.exporters.models.language_head import logits_weight

_ROWS = 4096  # of a matrix, in memory at once: embeddings are a third of a small model


@dataclass(frozen=True)
class WeightChange:
    """The norms ‖W_tuned − W_base‖ and ‖W_base‖ of tensors that are taken together."""

    norm: float
    base_norm: float

    @property
    def relative(self) -> float:
        """The change in parts of the base's; infinite where that is all zeros."""
        return self.norm / self.base_norm if self.base_norm else math.inf


def left_out(
    backbone: Backbone, tuned: Checkpoint, plan: HeadPlan, carried: Collection[str] = ()
) -> dict[str, WeightChange]:
    """The size of each change that a bundle leaves out.

    By name, with `*` for the number of a layer: what stands at every layer is taken together. The
    vectors `carried` are not left out.
    """
    base = backbone.checkpoint
    linear = {f"{layer.name}.weight" for layer in backbone.layers}
    names = [
        n for n in used_parameters(backbone, tuned, plan) if n not in linear and n not in carried
    ]
    compared = [(name, name, name) for name in names]
    if plan.pooling == "logits":
        compared += _of_lm_head(backbone, tuned)
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for label, ours, theirs in compared:
        if not tuned.is_base_own(theirs):
            changed, whole = _squares(base.stored(ours), tuned.stored(theirs))
            both = sums[re.sub(r"(?<=\.)\d+(?=\.)", "*", label)]
            both[0], both[1] = both[0] + changed, both[1] + whole
    return {
        name: WeightChange(math.sqrt(changed), math.sqrt(whole))
        for name, (changed, whole) in sums.items()
        if changed
    }


def beside_delta(changes: Mapping[str, WeightChange], deltas: Iterable[torch.Tensor]) -> float:
    """The norm of all `changes` together over that of the linear layers' `deltas`.

    Infinite where there is no delta.
    """
    norms = (torch.linalg.vector_norm(delta, dtype=torch.float64) for delta in deltas)
    kept = math.hypot(*map(float, norms))
    return math.hypot(*(one.norm for one in changes.values())) / kept if kept else math.inf


def _of_lm_head(backbone: Backbone, tuned: Checkpoint) -> Iterator[tuple[str, str, str]]:
    """A name for each tensor of the layer that gives logits, the base's tensor and the task's."""
    base, path = backbone.checkpoint, backbone.family.lm_head
    ours, theirs = (logits_weight(one, backbone.family) for one in (base, tuned))
    if ours and theirs and base.shape(ours) == tuned.shape(theirs):
        tied = ours in backbone.parameters and theirs in backbone.parameters
        if not tied:  # the embedding is compared as such
            yield f"{path}.weight", ours, theirs
    bias = f"{path}.bias"
    if bias in base and bias in tuned:
        yield bias, bias, bias


def _squares(base: torch.Tensor, tuned: torch.Tensor) -> tuple[float, float]:
    """‖W_tuned − W_base‖² and ‖W_base‖²."""
    changed = whole = 0.0
    for start in range(0, len(base), _ROWS):
        ours, theirs = (one[start : start + _ROWS].double() for one in (base, tuned))
        changed += float((theirs - ours).square().sum())
        whole += float(ours.square().sum())
    return changed, whole
