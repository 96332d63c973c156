"""The sets of weights that a task's torch model can be given with `TaskModel.at`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from osd_edge.formats.bundle.model import StoredHead, StoredSite
from osd_edge.formats.bundle.vectors import VectorDelta


@dataclass(frozen=True)
class Tuned:
    """The fine-tuned weights, as they came."""


@dataclass(frozen=True)
class LinearOnly:
    """Fine-tuned linear layers and head; embeddings, biases and LayerNorms of the base.

    What is lost by leaving those out of bundles is this model's loss against the fine-tuned one.
    With `vectors` biases and norms are the fine-tuned ones too, as bundles may have them.
    """

    vectors: bool = False


@dataclass(frozen=True, eq=False)
class Midpoint:
    """Fine-tuned weights, but the linear layers `layers` halfway to the base's."""

    layers: Sequence[str]


@dataclass(frozen=True, eq=False)
class WithDelta:
    """Base weights plus the decoded delta of `sites`, with `head` (None: as fine-tuned).

    `vectors` are changes of the base's biases and norms.
    """

    sites: Sequence[StoredSite] = ()
    head: StoredHead | None = None
    vectors: Sequence[VectorDelta] = ()


@dataclass(frozen=True, eq=False)
class Dense:
    """Base weights plus dense `deltas` `[n, d]` by site, and every parameter of the head."""

    deltas: Mapping[str, torch.Tensor]
    head: Mapping[str, torch.Tensor]


WeightSet: TypeAlias = Tuned | LinearOnly | Midpoint | WithDelta | Dense

TUNED = Tuned()
LINEAR_ONLY = LinearOnly()
LINEAR_AND_VECTORS = LinearOnly(vectors=True)
BASE = WithDelta()
NAMED = (TUNED, LINEAR_ONLY, LINEAR_AND_VECTORS, BASE)
