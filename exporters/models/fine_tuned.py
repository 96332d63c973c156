"""A base and a model fine-tuned from it, checked to be just that."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, InputError, ModelError
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.kinds.embedding import Embedding
from osd_edge.exporters.models.adapted_checkpoint import AdaptedCheckpoint
from osd_edge.exporters.models.backbone import Backbone, backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint, find_model
from osd_edge.exporters.models.compatibility import (
    check_architecture,
    check_finite,
    check_same_backbone,
    used_parameters,
)
from osd_edge.exporters.models.fingerprint import fingerprint
from osd_edge.exporters.models.head_plan import HeadPlan, plan_head
from osd_edge.exporters.models.language_head import LanguageHead, language_head
from osd_edge.exporters.models.likeness import Likeness, likeness
from osd_edge.exporters.models.setfit_checkpoint import SetFitCheckpoint
from osd_edge.exporters.models.setfit_head import is_setfit
from osd_edge.exporters.models.task_text import TaskTexts, task_texts
from osd_edge.exporters.models.vectors import base_vectors, changed_vectors


@dataclass(frozen=True)
class FineTuned:
    """The base's backbone and its fingerprint, the fine-tuned checkpoint, and what its head is.

    `texts` says how its own software makes tokens of texts.
    """

    backbone: Backbone
    tuned: Checkpoint
    head: HeadPlan
    fingerprint: str
    texts: TaskTexts

    @cached_property
    def language_head(self) -> LanguageHead:
        """The layer of the base that gives logits of tokens; raises ModelError where it has none.

        Finding it compares whole tables, so it is found once.
        """
        return language_head(self.backbone)

    @cached_property
    def likeness(self) -> Likeness:
        """The likeness of the fine-tuned weights to the base's."""
        return likeness(self.backbone, self.tuned)

    @cached_property
    def changed_vectors(self) -> dict[str, torch.Tensor]:
        """The changes `[n]` of biases and norms that the fine-tuned model has, by name."""
        used = set(used_parameters(self.backbone, self.tuned, self.head))
        names = [vector.name for vector in base_vectors(self.backbone) if vector.name in used]
        return changed_vectors(self.backbone, self.tuned, names)

    @property
    def writes(self) -> bool:
        """Says whether the task generates text."""
        return KINDS[self.head.kind].format.writes

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the head's outputs, in order."""
        return self.head.labels


def open_fine_tuned(
    base: str | Path,
    tuned: str | Path | None,
    progress: Progress = silent,
    *,
    kind: str | None = None,
    adapters: Sequence[tuple[str | Path, float]] = (),
    labels: Sequence[str] | None = None,
) -> FineTuned:
    """Open both checkpoints (folders or hub ids); `kind` of task, if not as configured.

    In the place of `tuned`, `adapters` are PEFT folders with their weights, and `labels` names
    their head's outputs. A model whose linear layers are the base's own is taken, which
    `check_differs` refuses, and one that was not fine-tuned from it, which `check_fine_tuned` does.

    Raises InputError; ModelError where the fine-tuned model is not a task over this base: another
    architecture, shape, vocabulary, tokenizer, no known head, or values that are not finite.
    """
    backbone = backbone_of(Checkpoint(base))
    if (tuned is None) == (not adapters):
        raise InputError(Code.INPUT_OPTIONS, "give a fine-tuned model, or adapters: one of the two")
    if labels is not None and not adapters:
        raise InputError(Code.INPUT_OPTIONS, "labels are for adapters; a model has its own")
    checkpoint = (
        AdaptedCheckpoint(backbone.checkpoint, adapters, labels)
        if tuned is None
        else _checkpoint(tuned, kind)
    )
    check_architecture(backbone, checkpoint)
    plan = plan_head(backbone, checkpoint, kind)
    check_same_backbone(backbone, checkpoint, plan)
    texts = task_texts(backbone.checkpoint, checkpoint, plan.kind)
    check_finite(backbone.checkpoint, list(backbone.parameters), progress)
    check_finite(checkpoint, used_parameters(backbone, checkpoint, plan), progress)
    digest = fingerprint(backbone.checkpoint, list(backbone.parameters), progress)
    return FineTuned(backbone, checkpoint, plan, digest, texts)


def _checkpoint(tuned: str | Path, kind: str | None) -> Checkpoint:
    """The fine-tuned checkpoint; of SetFit with its classifier, unless vectors alone are wanted."""
    folder = find_model(str(tuned))
    if kind != Embedding.name and is_setfit(folder):
        return SetFitCheckpoint(folder)
    return Checkpoint(folder)


def check_fine_tuned(models: FineTuned, otherwise: str = "") -> None:
    """Refuse (`model.foreign`) a model that was not fine-tuned from the base.

    `otherwise` is what may be done beside giving the base that it was made from.
    """
    found = models.likeness
    if found.fine_tuned:
        return
    words = ", ".join(f"{cosine:.2f} for {name}" for name, cosine in found.figures.items())
    raise ModelError(
        Code.MODEL_FOREIGN,
        f"{models.tuned.folder} was not fine-tuned from {models.backbone.checkpoint.folder}: the "
        f"cosine of their weights is {words}, where training leaves 0.9 and more: give the base "
        f"that it was made from{otherwise}",
    )
