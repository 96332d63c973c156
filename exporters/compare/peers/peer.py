"""The contract of a method in comparisons: a way from two models to files, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.heads import Head

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Compressed:
    """The files that one would ship, by name, and what the method chose."""

    files: Files
    detail: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(data) for data in self.files.values())


@dataclass(frozen=True)
class Restored:
    """A task as a receiver has it from the files: ΔW `[n, d]` by site, and the head's parameters.

    Or `over_base`, a head with its own pooling over the base as it is, and nothing else.
    """

    deltas: Mapping[str, torch.Tensor]
    head: Mapping[str, torch.Tensor]
    over_base: Head | None = None


class Peer(Protocol):
    """A compression method. `sized`: whether it can be made to fit a budget."""

    @property
    def name(self) -> str:
        """Name on the command line and in tables."""
        ...

    @property
    def sized(self) -> bool:
        """Says whether `compress` takes a budget; where not, it has one size and is given None."""
        ...

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The files within `budget`; raises BudgetError `budget.too-small`, DataError."""
        ...

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """Deltas and head from nothing but the files and the base."""
        ...
