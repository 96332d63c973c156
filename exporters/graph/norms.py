"""The norms of a backbone in its graph: which node each is, proved, and what states it sees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from osd_edge.exporters.graph.tracers.example import example_inputs
from osd_edge.exporters.graph.unproved import unproved
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.vectors import BaseVector
from osd_edge.exporters.models.weightless import weightless_backbone

NORMS = ("LayerNormalization", "SimplifiedLayerNormalization")


class Norms:
    """The norms that `vectors` belong to, a weight and perhaps a bias each."""

    def __init__(self, backbone: Backbone, vectors: Sequence[BaseVector]) -> None:
        """Runs the backbone once, without its weights, to see what each norm is given."""
        self._backbone = backbone
        self._vectors: dict[str, list[BaseVector]] = {}
        for vector in vectors:
            self._vectors.setdefault(vector.module, []).append(vector)
        self._flat = _seeing_other_states(backbone, self._vectors)

    @property
    def names(self) -> frozenset[str]:
        """The norms' paths."""
        return frozenset(self._vectors)

    def of(self, node: onnx.NodeProto) -> str | None:
        """The norm that a node is, by the name of its weight."""
        name = node.input[1].removesuffix(".weight") if node.op_type in NORMS else ""
        return name if name in self._vectors else None

    def is_flat(self, name: str) -> bool:
        """Says whether a norm sees states in another shape than `[batch, tokens, n]`."""
        return name in self._flat

    def proved(self, name: str, held: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The weight, and the bias where there is one, of a node that holds these numbers.

        Tracers give a norm without a bias one of zeros, which is left out. Raises ModelError
        `model.graph` where they are others than the checkpoint's.
        """
        vectors, decoder = self._vectors[name], self._backbone.family.decoder
        expected = [self._backbone.checkpoint.float32(vector.name).numpy() for vector in vectors]
        if decoder is not None:
            expected[0] = expected[0] + np.float32(decoder.norm_offset)
        padded = [*expected, np.zeros_like(expected[0])][: len(held)]
        if len(held) < len(expected) or not all(map(np.array_equal, held, padded)):
            raise unproved(f"the exported graph does not hold the weights of {name}")
        return expected


def _seeing_other_states(backbone: Backbone, names: Any) -> frozenset[str]:
    """The norms that are given another shape than `[batch, tokens, n]`, in any of their uses."""
    found: set[str] = set()
    model = weightless_backbone(backbone)
    for path, module in model.named_modules():
        name = checkpoint_name(backbone.family, path)
        if name in names:

            def look(_: Any, given: tuple[torch.Tensor, ...], name: str = name) -> None:
                if given[0].ndim != 3:
                    found.add(name)

            module.register_forward_pre_hook(look)
    with torch.no_grad():
        model(**example_inputs(backbone))
    return frozenset(found)
