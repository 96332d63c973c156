"""What the head of a fine-tuned model is: its kind, what it reads, its layers and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from osd_edge.errors import InputError, ModelError
from osd_edge.exporters.backbone import Backbone
from osd_edge.exporters.checkpoint import Checkpoint
from osd_edge.exporters.embedding import embedding_settings
from osd_edge.exporters.families import SEQUENCE, SPANS, TOKENS, HeadModule, HeadShape
from osd_edge.heads import ACTIVATIONS, KINDS, NORM_EPSILON, POOLINGS, SPAN_LABELS


@dataclass(frozen=True)
class HeadPlan:
    """What a task's head is, before its weights: kind, pooling, layers and labels.

    The modules' activations and the pooling are those that a bundle names. `normalize` is for
    embeddings: of length 1.
    """

    kind: str
    pooling: str
    modules: tuple[HeadModule, ...]
    labels: tuple[str, ...]
    normalize: bool = False


def plan_head(backbone: Backbone, tuned: Checkpoint, kind: str | None = None) -> HeadPlan:
    """The head of the task model `tuned`, of its own kind unless `kind` names another.

    Raises ModelError `model.head` where the model has no such head, InputError `input.kind`.
    """
    if kind is not None and kind not in KINDS:
        raise InputError("input.kind", f"expected one of {', '.join(KINDS)}, found {kind!r}")
    kind = kind or kind_of(tuned)
    if kind == "embedding":
        pooling, normalize = embedding_settings(tuned.folder)
        return HeadPlan(kind, pooling, (), (), normalize)
    shape = {"token-labels": TOKENS, "spans": SPANS}.get(kind, SEQUENCE)
    described = backbone.family.heads.get(shape)
    if described is None:
        raise ModelError(
            "model.head", f"{backbone.family.model_type} models have no head for {kind}"
        )
    pooling, modules = _resolved(backbone, tuned, described)
    plan = HeadPlan(kind, pooling, modules, _labels(tuned, kind))
    outputs = None
    for module in modules:
        if f"{module.path}.weight" not in tuned:
            raise ModelError(
                "model.head",
                f"{tuned.folder} has no {module.path}.weight: expected a fine-tuned "
                f"{backbone.family.model_type} model with a head for {kind}",
            )
        outputs = tuned.shape(f"{module.path}.weight")[0]
    if outputs != len(plan.labels):
        raise ModelError(
            "model.head", f"{tuned.folder}: {outputs} outputs for {len(plan.labels)} labels"
        )
    return plan


def kind_of(tuned: Checkpoint) -> str:
    """The kind of task by the configuration; raises ModelError `model.head`."""
    config = tuned.config
    name = (config.architectures or ["ForSequenceClassification"])[0]
    if name.endswith(("ForSequenceClassification", "ForImageClassification")):
        kinds = {
            "single_label_classification": "labels",
            "multi_label_classification": "multi-label",
            "regression": "regression",
            None: "regression" if config.num_labels == 1 else "labels",
        }
        if config.problem_type in kinds:
            return kinds[config.problem_type]
    if name.endswith("ForTokenClassification"):
        return "token-labels"
    if name.endswith("ForQuestionAnswering"):
        return "spans"
    if name.endswith("Model"):
        return "embedding"
    raise ModelError(
        "model.head",
        f"{tuned.folder} is a {name} (problem type {config.problem_type!r}): expected a model "
        "that classifies, tags, finds answers or embeds",
    )


def head_modules(backbone: Backbone) -> tuple[HeadModule, ...]:
    """The layers of the family's classifiers over this base."""
    return _resolved(backbone, backbone.checkpoint, backbone.family.heads[SEQUENCE])[1]


def _resolved(
    backbone: Backbone, tuned: Checkpoint, shape: HeadShape
) -> tuple[str, tuple[HeadModule, ...]]:
    """Pooling and layers, with what the configuration says in the place of `@NAME`."""
    config = tuned.config
    pooling = _setting(config, shape.pooling)
    layers = shape.layers
    pooler = backbone.family.pooler
    if pooling == "pooler" and not backbone.has_pooler:
        # The task's own pooler is part of its head.
        assert pooler is not None
        pooling, layers = "cls", (pooler, *layers)
    modules = []
    for layer in layers:
        activation = _setting(config, layer.activation)
        if layer.norm is not None:
            activation = f"{activation}-norm"
            if getattr(config, "norm_eps", NORM_EPSILON) != NORM_EPSILON:
                raise ModelError("model.head", f"{tuned.folder}: norm_eps is not {NORM_EPSILON}")
        modules.append(replace(layer, activation=activation))
    for activation in (m.activation for m in modules if m.activation):
        if activation not in ACTIVATIONS:
            raise ModelError(
                "model.head",
                f"{tuned.folder}: the head's activation {activation!r} is none of "
                f"{', '.join(ACTIVATIONS)}",
            )
    if pooling not in POOLINGS:
        raise ModelError("model.head", f"{tuned.folder}: the head's pooling {pooling!r} is unknown")
    return str(pooling), tuple(modules)


def _setting(config: Any, name: str | None) -> str | None:
    return getattr(config, name[1:], None) if name and name.startswith("@") else name


def _labels(tuned: Checkpoint, kind: str) -> tuple[str, ...]:
    """Names of the head's outputs, in order."""
    if kind == "spans":
        return SPAN_LABELS
    config = tuned.config
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    if kind == "labels" and len(labels) < 2:
        raise ModelError(
            "model.head", f"{tuned.folder}: a classifier has two labels or more, found one"
        )
    if len(set(labels)) != len(labels) or not all(labels):
        raise ModelError("model.head", f"{tuned.folder}: the labels in id2label are not distinct")
    return labels


def classification_labels(tuned: Checkpoint) -> tuple[str, ...]:
    """Label names of a single-label classifier, in the order of the logits.

    Raises ModelError `model.head` for any other kind of model.
    """
    kind = kind_of(tuned)
    if kind != "labels":
        raise ModelError(
            "model.head",
            f"{tuned.folder}: expected a single-label classifier, found a head for {kind}",
        )
    return _labels(tuned, kind)


def head_values(tuned: Checkpoint, modules: Sequence[HeadModule]) -> dict[str, torch.Tensor]:
    """Weights `[n, d]` and biases `[n]` of the head's layers by full name.

    What a LayerNorm between two layers multiplies and adds is moved into the layer after it,
    which leaves nothing of it but the normalisation: exact, and two vectors less in a bundle.
    """
    values: dict[str, torch.Tensor] = {}
    norm = None
    for module in modules:
        weight = tuned.float32(f"{module.path}.weight")
        bias = tuned.float32(f"{module.path}.bias") if f"{module.path}.bias" in tuned else None
        if norm is not None:
            if f"{norm}.bias" in tuned:
                shift = weight @ tuned.float32(f"{norm}.bias")
                bias = shift if bias is None else bias + shift
            weight = weight * tuned.float32(f"{norm}.weight")
        values[f"{module.path}.weight"] = weight
        if bias is not None:
            values[f"{module.path}.bias"] = bias
        norm = module.norm
    return values
