"""A base and a model fine-tuned from it, checked to be just that."""

from dataclasses import dataclass
from pathlib import Path

from osd_edge.exporters.backbone import Backbone, backbone_of
from osd_edge.exporters.checkpoint import Checkpoint
from osd_edge.exporters.compatibility import (
    check_differs,
    check_finite,
    check_same_backbone,
    used_parameters,
)
from osd_edge.exporters.fingerprint import fingerprint
from osd_edge.exporters.head import check_head, classification_labels
from osd_edge.progress import Progress, silent


@dataclass(frozen=True)
class Pair:
    """The base's backbone and its fingerprint, the fine-tuned checkpoint, and its labels."""

    backbone: Backbone
    tuned: Checkpoint
    labels: tuple[str, ...]
    fingerprint: str


def open_pair(base: str | Path, tuned: str | Path, progress: Progress = silent) -> Pair:
    """Open both checkpoints (folders or hub ids).

    Raises ModelError where the fine-tuned model is not a classifier over this base: another
    architecture, shape, vocabulary, tokenizer, or values that are not finite.
    """
    backbone = backbone_of(Checkpoint(base))
    checkpoint = Checkpoint(tuned)
    check_same_backbone(backbone, checkpoint)
    check_head(backbone, checkpoint)
    labels = classification_labels(checkpoint)
    check_finite(backbone.checkpoint, list(backbone.parameters), progress)
    check_finite(checkpoint, used_parameters(backbone, checkpoint), progress)
    check_differs(backbone, checkpoint)
    digest = fingerprint(backbone.checkpoint, list(backbone.parameters), progress)
    return Pair(backbone, checkpoint, labels, digest)
