"""What a compression method may look at: two models and calibration rows, never a test row."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError
from osd_edge.exporters.compare.peers.peer import Restored
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.factorize import Factors, factorize_sites
from osd_edge.exporters.models.head_plan import head_values
from osd_edge.exporters.scoring.text_set import TextSet, divergence
from osd_edge.exporters.task import TaskExporter

MAX_RANK = 64  # columns of a site that any peer may use
_SAMPLE = 64  # rows on which a peer chooses a scalar


class Source:
    """A base, a model fine-tuned from it, and its calibration set; shared by all methods."""

    def __init__(
        self,
        base: str | Path,
        tuned: str | Path,
        calibration: Sequence[Example],
        *,
        task: str = "task",
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        """Open both models; raises ModelError, DataError."""
        self.task, self.seed = task, seed
        self.exporter = TaskExporter(base, tuned, calibration=calibration, progress=progress)
        assert self.exporter.model is not None
        self.pair = self.exporter.pair
        if not KINDS[self.pair.head.kind].labelled:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{tuned}: classifiers of one label are compared, not {self.pair.head.kind}",
            )
        self.layers = self.exporter.layers
        self.model = self.exporter.model
        self.examples = tuple(calibration)

    def delta(self, site: str) -> torch.Tensor:
        """ΔW `[n, d]` of one site."""
        name = f"{site}.weight"
        return self.pair.tuned.float32(name) - self.pair.backbone.checkpoint.float32(name)

    def head(self) -> dict[str, torch.Tensor]:
        """The fine-tuned head's parameters."""
        return head_values(self.pair.tuned, self.pair.head.modules)

    @functools.cached_property
    def factors(self) -> Mapping[str, Factors]:
        """Leading columns of each site's delta, `MAX_RANK` at most."""
        ranks = {layer.name: min(MAX_RANK, layer.n, layer.d) for layer in self.layers}
        return factorize_sites(self.pair.backbone, self.pair.tuned, ranks)

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """Each layer's place in the base's site table."""
        return {layer.name: i for i, layer in enumerate(self.pair.backbone.layers)}

    def divergence(self, restored: Restored) -> float:
        """KL in nats from the fine-tuned model on a sample of the calibration set."""
        reference = self._reference  # before the weights are set, since it sets them too
        self.model.set_weights(restored.deltas, restored.head)
        return divergence(reference, self._sample.logits(self.model.module))

    @functools.cached_property
    def _sample(self) -> TextSet:
        step = max(1, len(self.examples) // _SAMPLE)
        return TextSet(self.pair, self.examples[::step][:_SAMPLE])

    @functools.cached_property
    def _reference(self) -> torch.Tensor:
        self.model.set_tuned()
        return self._sample.logits(self.model.module)
