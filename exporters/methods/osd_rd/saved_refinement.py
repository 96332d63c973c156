"""A refinement in a file, from which one that was broken off goes on to the same bytes.

The file has what the next step depends on and the start does not say: what is trained, Adam's
moments of it, the strength of the L1 term, the variance of hidden states. It is named for what the
refinement starts from and how it is done, so that several of one task (as `--keep` tries sizes)
have a file each. A finished one stays, and is not done again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from osd_edge.exporters.methods.osd_rd.finished_work import FinishedWork, Tensors, digest
from osd_edge.exporters.methods.stored.latents import Latents

_EVERY_S = 30.0  # between two files: a step of a large model takes seconds, a file a tenth of one


@dataclass(frozen=True)
class Reached:
    """The number of `steps` done, the `strength` of the L1 term after them, and the variance."""

    steps: int
    strength: float
    spread: torch.Tensor


class SavedRefinement:
    """The file, in the finished work of an export, of one refinement."""

    def __init__(self, work: FinishedWork, start: Latents, settings: Mapping[str, Any]) -> None:
        """Name the file for the latents at the `start`, and for all `settings` beside them."""
        self._work = work
        self._name = digest(_tensors(start), settings)
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Says whether it is time to keep what has been reached."""
        return time.monotonic() - self._last >= _EVERY_S

    def restore(self, optimizer: torch.optim.Optimizer) -> Reached | None:
        """Set what `optimizer` trains, and its moments, to what was kept, if anything was."""
        found = self._work.refinement(self._name)
        if found is None:
            return None
        tensors, facts = found
        with torch.no_grad():
            for i, parameter in enumerate(_trained(optimizer)):
                parameter.copy_(tensors[f"{i}.value"])
                moments = facts["moments"][i]
                if moments:
                    own = {name: tensors[f"{i}.{name}"].clone() for name in moments}
                    optimizer.state[parameter] = own
        return Reached(facts["steps"], facts["strength"], tensors["spread"].clone())

    def keep(self, optimizer: torch.optim.Optimizer, reached: Reached) -> None:
        """Put what has been reached in the place of what was kept before."""
        tensors: Tensors = {"spread": reached.spread}
        moments: list[list[str]] = []
        for i, parameter in enumerate(_trained(optimizer)):
            own = optimizer.state.get(parameter, {})
            tensors[f"{i}.value"] = parameter.detach()
            tensors |= {f"{i}.{name}": value for name, value in own.items()}
            moments.append(sorted(own))
        facts = {"steps": reached.steps, "strength": reached.strength, "moments": moments}
        self._work.put_refinement(self._name, tensors, facts)
        self._last = time.monotonic()


def _trained(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _tensors(latents: Latents) -> Tensors:
    """All tensors of latents by name."""
    parts = {**latents.sites, **{f"head {i}": layer for i, layer in enumerate(latents.head)}}
    parts |= {f"vector {name}": latent for name, latent in latents.vectors.items()}
    found = {f"{n} {i}": x for n, latent in parts.items() for i, x in enumerate(latent.rows)}
    found |= {f"{name} scale": latent.scale for name, latent in parts.items()}
    biases = enumerate(latents.biases)
    return found | {f"bias {i}": bias for i, bias in biases if bias is not None}
