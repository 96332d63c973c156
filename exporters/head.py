"""The head of a fine-tuned classifier as the bundle stores it."""

from dataclasses import dataclass

import torch

from osd_edge.bundle import CodedHead, CodedHeadLayer
from osd_edge.errors import ModelError
from osd_edge.exporters.backbone import Backbone
from osd_edge.exporters.checkpoint import Checkpoint
from osd_edge.exporters.factorize import truncated_svd
from osd_edge.exporters.families import HeadModule
from osd_edge.exporters.quantize import code_matrix, code_product

BIG = 128  # a dense layer with both sides at least this wide may be stored as factors
KEPT_ENERGY = 0.99  # share of a big layer's squared norm that its factors keep


@dataclass(frozen=True)
class HeadOptions:
    """How a head is stored: `values` fp32, fp16 or int8; `rank` of big dense layers.

    Without a rank a big layer gets the smallest one that keeps 99 % of its squared norm, and
    stays a full matrix where factors of that rank would be no smaller. `max_bytes` bounds the
    matrices of big layers, by a smaller rank where it must be.
    """

    values: str = "fp16"
    rank: int | None = None
    max_bytes: int | None = None


def head_modules(backbone: Backbone) -> tuple[HeadModule, ...]:
    """The head's linear layers: where the base has no pooler, the task's own is part of it."""
    family = backbone.family
    if family.head_uses_pooler and not backbone.has_pooler:
        assert family.pooler is not None
        return (HeadModule(family.pooler, "tanh"), *family.classifier)
    return family.classifier


def classification_labels(tuned: Checkpoint) -> tuple[str, ...]:
    """Label names in the order of the logits; raises ModelError where there is no such head."""
    config = tuned.config
    problem = config.problem_type or "single_label_classification"
    if problem != "single_label_classification" or config.num_labels < 2:
        raise ModelError(
            "model.head",
            f"{tuned.folder}: expected a single-label classifier, found {config.num_labels} "
            f"label(s) and problem type {problem!r}",
        )
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    if len(set(labels)) != len(labels) or not all(labels):
        raise ModelError("model.head", f"{tuned.folder}: the labels in id2label are not distinct")
    return labels


def check_head(backbone: Backbone, tuned: Checkpoint) -> None:
    """Refuse (`model.head`) a checkpoint without the layers of its family's classifier."""
    for module in head_modules(backbone):
        if f"{module.path}.weight" not in tuned:
            raise ModelError(
                "model.head",
                f"{tuned.folder} has no {module.path}.weight: expected a fine-tuned "
                f"{backbone.family.model_type} sequence classifier",
            )


def head_pooling(backbone: Backbone) -> str:
    """What of the hidden states the head reads: `pooler` where the base has its own pooler."""
    family = backbone.family
    return "pooler" if family.head_uses_pooler and backbone.has_pooler else family.pooling


def code_head(backbone: Backbone, tuned: Checkpoint, options: HeadOptions) -> CodedHead:
    """The head of `tuned`, which `check_head` has passed, stored as `options` say."""
    layers = []
    for module in head_modules(backbone):
        bias = None
        if f"{module.path}.bias" in tuned:
            bias = tuned.float32(f"{module.path}.bias")
        layers.append(
            code_head_layer(
                tuned.float32(f"{module.path}.weight"), module.activation, bias, options
            )
        )
    return CodedHead("labels", head_pooling(backbone), tuple(layers))


def code_head_layer(
    weight: torch.Tensor,
    activation: str | None,
    bias: torch.Tensor | None,
    options: HeadOptions,
) -> CodedHeadLayer:
    """A linear layer of a head, `weight` `[n, d]`, stored as `options` say."""
    row = None if bias is None else bias.numpy()
    rank = _rank(weight, options) if min(weight.shape) >= BIG else None
    if rank is None:
        return CodedHeadLayer(activation, row, weight=code_matrix(weight, options.values))
    factors = truncated_svd(weight, rank)
    u, v = code_product(factors.u, factors.v, options.values)
    return CodedHeadLayer(activation, row, u=u, v=v)


def _rank(weight: torch.Tensor, options: HeadOptions) -> int | None:
    """Rank of a big layer's factors, None for a full matrix."""
    n, d = weight.shape
    if options.rank is not None:
        return options.rank if 0 < options.rank < min(n, d) else None
    energy = torch.linalg.svdvals(weight.double()).square().cumsum(0)
    rank: int | None = int((energy < KEPT_ENERGY * energy[-1]).sum()) + 1
    if rank is not None and rank * (n + d) >= n * d:
        rank = None
    if options.max_bytes is not None:
        element = {"fp32": 4, "fp16": 2, "int8": 1}[options.values]
        most = max(1, options.max_bytes // (element * (n + d)))
        if (rank or n * d / (n + d)) > most:
            rank = most
    return rank
