"""The plan of a fine-tuned model's head: its kind, what it reads, its layers and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.kinds import KINDS, SEQUENCE, Kind, find_kind
from osd_edge.exporters.kinds.embedding import Embedding
from osd_edge.exporters.kinds.labels import Labels
from osd_edge.exporters.kinds.multi_label import MultiLabel
from osd_edge.exporters.kinds.regression import Regression
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.cross_encoder import activation, gives_chances
from osd_edge.exporters.models.embedding_settings import embedding_settings
from osd_edge.exporters.models.families import HeadModule, HeadShape
from osd_edge.exporters.models.sentence_folder import is_sentence_folder
from osd_edge.formats.heads import ACTIVATIONS, NORM_EPSILON, POOLINGS

_OF_LOGITS = (Labels.name, Regression.name)  # kinds of a sequence class that does not say


@dataclass(frozen=True)
class HeadPlan:
    """A task's head before its weights: kind, pooling, layers and labels.

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

    Raises ModelError: `model.head` where the model has no such head, `model.shape` where a layer
    of it does not fit the one before; InputError `input.kind`.
    """
    chosen = find_kind(kind or kind_of(tuned))
    if chosen.format.writes:
        if backbone.family.lm_head is None:
            raise ModelError(
                Code.MODEL_HEAD, f"{backbone.family.model_type} models do not generate text"
            )
        return HeadPlan(chosen.name, "logits", (), ())
    if chosen.head is None:
        pooling, normalize = embedding_settings(tuned.home)
        return HeadPlan(chosen.name, pooling, (), (), normalize)
    if tuned.own_head is not None and chosen.name != kind_of(tuned):
        raise ModelError(
            Code.MODEL_HEAD,
            f"{tuned.folder} has a classifier of its own, for {kind_of(tuned)}: leave --kind out, "
            "or give --kind embedding for its vectors alone",
        )
    described = tuned.own_head or backbone.family.heads.get(chosen.head)
    if described is None:
        raise ModelError(
            Code.MODEL_HEAD, f"{backbone.family.model_type} models have no head for {chosen.name}"
        )
    pooling, modules = _resolved(backbone, tuned, described)
    plan = HeadPlan(chosen.name, pooling, modules, _labels(tuned, chosen))
    outputs = _check_layers(backbone, tuned, plan)
    if outputs != len(plan.labels):
        raise ModelError(
            Code.MODEL_HEAD, f"{tuned.folder}: {outputs} outputs for {len(plan.labels)} labels"
        )
    return plan


def _check_layers(backbone: Backbone, tuned: Checkpoint, plan: HeadPlan) -> int:
    """Outputs of the head, each of whose layers must take what the one before gives."""
    width = backbone.hidden_size
    pooler = backbone.family.pooler
    if plan.pooling == "pooler" and pooler is not None:
        width = next(layer.n for layer in backbone.layers if layer.name == pooler.path)
    for module in plan.modules:
        if f"{module.path}.weight" not in tuned:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{tuned.folder} has no {module.path}.weight: expected a fine-tuned "
                f"{backbone.family.model_type} model with a head for {plan.kind}",
            )
        shape = tuned.shape(f"{module.path}.weight")
        if len(shape) != 2 or shape[1] != width or not shape[0]:
            raise _misshapen(tuned, f"{module.path}.weight", f"[outputs, {width}]")
        width = shape[0]
        vectors = [f"{module.path}.bias"]
        vectors += [f"{module.norm}.{end}" for end in ("weight", "bias") if module.norm]
        for name in vectors:
            if name in tuned and tuned.shape(name) != (width,):
                raise _misshapen(tuned, name, f"[{width}]")
    return width


def _misshapen(tuned: Checkpoint, name: str, expected: str) -> ModelError:
    return ModelError(
        Code.MODEL_SHAPE,
        f"{tuned.folder}: the head's {name} has shape {list(tuned.shape(name))}, expected "
        f"{expected}",
    )


def kind_of(tuned: Checkpoint) -> str:
    """The kind of task by the configuration; raises ModelError `model.head`, `model.config`."""
    config = tuned.config
    names = config.architectures or ["ForSequenceClassification"]
    if not isinstance(names, list) or not isinstance(names[0], str):
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{tuned.folder}: architectures in config.json is {shown(repr(names), 60)}, expected "
            "a list of names of classes",
        )
    name = names[0]
    for kind in KINDS.values():
        if kind.is_of(name, config):
            # Embedding models of decoders often keep the name of the class they were trained from.
            if kind.format.writes and is_sentence_folder(tuned.home):
                return Embedding.name
            if config.problem_type is None and kind.name in _OF_LOGITS and gives_chances(tuned):
                return MultiLabel.name
            return kind.name
    if is_sentence_folder(tuned.home):  # trained from one that guesses masked words, for example
        return Embedding.name
    raise ModelError(
        Code.MODEL_HEAD,
        f"{tuned.folder} is a {shown(name)} (problem type {config.problem_type!r}): expected a "
        "model that classifies, tags, finds answers, embeds or generates text",
    )


def kind_unsaid(tuned: Checkpoint, plan: HeadPlan) -> bool:
    """Says whether `tuned` leaves open that its one output is a number.

    Of a configuration without `problem_type` transformers' trainer takes it for one, and its
    pipelines make a chance of it. A cross-encoder of sentence-transformers says what it is.
    """
    unsaid = tuned.config.problem_type is None and activation(tuned) is None
    return plan.kind == Regression.name and unsaid


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
                raise ModelError(Code.MODEL_HEAD, f"{tuned.folder}: norm_eps is not {NORM_EPSILON}")
        modules.append(replace(layer, activation=activation))
    for activation in (m.activation for m in modules if m.activation):
        if activation not in ACTIVATIONS:
            raise ModelError(
                Code.MODEL_HEAD,
                f"{tuned.folder}: the head's activation {activation!r} is none of "
                f"{', '.join(ACTIVATIONS)}",
            )
    if pooling not in POOLINGS:
        raise ModelError(
            Code.MODEL_HEAD, f"{tuned.folder}: the head's pooling {pooling!r} is unknown"
        )
    return str(pooling), tuple(modules)


def _setting(config: Any, name: str | None) -> str | None:
    return getattr(config, name[1:], None) if name and name.startswith("@") else name


def _labels(tuned: Checkpoint, kind: Kind) -> tuple[str, ...]:
    """Names of the head's outputs, in order."""
    if kind.format.labels is not None:
        return kind.format.labels
    config = tuned.config
    count = config.num_labels
    unnamed = next((i for i in range(count) if i not in config.id2label), None)
    if unnamed is not None:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{tuned.folder}: id2label has {count} labels and none for output {unnamed}: expected "
            f"0 to {count - 1}",
        )
    labels = tuple(str(config.id2label[i]) for i in range(count))
    if len(labels) < kind.least_labels:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{tuned.folder}: a classifier has two labels or more, found one: --kind multi-label "
            "makes a chance of its output, as transformers' pipelines do, --kind regression a "
            "number",
        )
    fault = label_fault(labels)
    if fault:
        raise ModelError(Code.MODEL_HEAD, f"{tuned.folder}: in id2label, {fault}")
    return labels


def label_fault(labels: Sequence[str]) -> str | None:
    """The fault for which a bundle cannot have these labels, in words; None where it takes them."""
    seen: set[str] = set()
    for label in labels:
        if not label:
            return "a label is empty"
        if label in seen:
            return f"the labels are not distinct: {shown(repr(label), 40)} is there twice"
        if any("\ud800" <= c <= "\udfff" for c in label):  # half of a character: not UTF-8
            return f"{shown(repr(label), 40)} is not text"
        seen.add(label)
    return None


def classification_labels(tuned: Checkpoint) -> tuple[str, ...]:
    """Label names of a single-label classifier, in the order of the logits.

    Raises ModelError `model.head` for any other kind of model.
    """
    kind = find_kind(kind_of(tuned))
    if not kind.labelled:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{tuned.folder}: expected a single-label classifier, found a head for {kind.name}",
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
