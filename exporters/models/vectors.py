"""The vectors of a backbone: biases of its linear layers, and weights and biases of its norms.

A task may change them where a base package takes their changes, and a bundle names each by its
place in this list, which is therefore the same in whatever way a package of the base is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from osd_edge.exporters.models.backbone import Backbone, described_model
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.linear import linear_shape
from osd_edge.exporters.models.module_names import checkpoint_name


@dataclass(frozen=True)
class BaseVector:
    """A bias of a linear layer, or the weight or bias of a norm, of n numbers.

    `module` is the layer's or the norm's path.
    """

    module: str
    part: str
    n: int
    of_norm: bool

    @property
    def name(self) -> str:
        """The name of the parameter."""
        return f"{self.module}.{self.part}"


def base_vectors(backbone: Backbone) -> tuple[BaseVector, ...]:
    """All vectors of `backbone` in module order, a norm's weight before its bias."""
    model = described_model(backbone.checkpoint, backbone.family, backbone.has_pooler)
    found = []
    for path, module in model.named_modules():
        name = checkpoint_name(backbone.family, path)
        layer, norm = linear_shape(module) is not None, _is_norm(module)
        for part in ("bias",) if layer else ("weight", "bias") if norm else ():
            parameter = getattr(module, part, None)
            if parameter is not None:
                found.append(BaseVector(name, part, len(parameter), norm))
    return tuple(found)


def changed_vectors(
    backbone: Backbone, tuned: Checkpoint, names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """The change `[n]` of each of the vectors `names` that the fine-tuned model changes."""
    changes = {}
    for name in names:
        if name in tuned and not tuned.is_base_own(name):
            ours, theirs = backbone.checkpoint.float32(name), tuned.float32(name)
            if not torch.equal(ours, theirs):
                changes[name] = theirs - ours
    return changes


def _is_norm(module: torch.nn.Module) -> bool:
    """Says whether a module multiplies normalised states with a weight: LayerNorm, RMSNorm."""
    weight = getattr(module, "weight", None)
    return type(module).__name__.endswith("Norm") and weight is not None and weight.ndim == 1
