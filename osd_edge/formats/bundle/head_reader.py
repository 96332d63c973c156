"""Reads the metadata value `osd.head`: kind, pooling, and a description of each layer."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from osd_edge.errors import BundleError, Code
from osd_edge.formats import heads
from osd_edge.formats.bundle.facts import LayerFacts
from osd_edge.formats.bundle.model import StoredHead
from osd_edge.formats.kinds import TaskKind, format_kind
from osd_edge.formats.limits import MAX_DIMENSION


def read_head(
    description: object, labels: Sequence[str], add_layer: Callable[[LayerFacts], None]
) -> StoredHead:
    """Reads the head without its layers: each goes to `add_layer` as soon as it is checked.

    Raises BundleError `bundle.head`, `bundle.head-kind`, `bundle.labels`, and what `add_layer`
    raises.
    """
    problem = BundleError(Code.BUNDLE_HEAD, "osd.head does not describe a head")
    if not isinstance(description, dict):
        raise problem
    known, pooling = _kind_and_pooling(description)
    fields = {"kind", "pooling", "layers"} | ({"normalize"} if known.vector else set())
    normalize = description.get("normalize", False)
    if set(description) != fields or type(normalize) is not bool or not known.takes(pooling):
        raise problem
    layers = description["layers"]
    if not isinstance(layers, list) or len(layers) not in known.layers:
        raise problem
    read = []
    for i, layer in enumerate(layers):
        read.append(_layer_facts(i, layer))
        add_layer(read[-1])
    for before, following in pairwise(read):
        if before.shape[0] != following.shape[1]:
            raise BundleError(Code.BUNDLE_HEAD, "the layers of the head do not fit each other")
    outputs = 0 if known.vector or known.writes else read[-1].shape[0]
    if len(labels) != outputs or known.labels not in (None, tuple(labels)):
        raise BundleError(
            Code.BUNDLE_LABELS,
            f"{len(labels)} labels for a {known.name} head with {outputs} outputs",
        )
    return StoredHead(known.name, pooling, (), normalize)


def _kind_and_pooling(description: dict[str, object]) -> tuple[TaskKind, str]:
    # Before all else: the head of a later release may have other fields.
    kind, pooling = description.get("kind"), description.get("pooling")
    if not isinstance(kind, str) or not isinstance(pooling, str):
        raise BundleError(Code.BUNDLE_HEAD, "osd.head does not describe a head")
    known = format_kind(kind)
    if known is None or pooling not in heads.POOLINGS:
        raise BundleError(
            Code.BUNDLE_HEAD_KIND,
            f"a head of kind {kind[:40]!r} with pooling {pooling[:40]!r} is not known "
            "to this release: update osd-edge",
        )
    return known, pooling


def _layer_facts(i: int, description: object) -> LayerFacts:
    problem = BundleError(Code.BUNDLE_HEAD, f"layer {i} of osd.head is malformed")
    if not isinstance(description, dict) or set(description) != {"shape", "rank", "activation"}:
        raise problem
    shape, rank, activation = (description[key] for key in ("shape", "rank", "activation"))
    if not isinstance(shape, list) or len(shape) != 2 or not _is_whole(rank, 0):
        raise problem
    if not all(_is_whole(x, 1) for x in shape):
        raise problem
    if activation is not None and not isinstance(activation, str):
        raise problem
    if activation is not None and activation not in heads.ACTIVATIONS:
        raise BundleError(
            Code.BUNDLE_HEAD_KIND,
            f"activation {activation[:40]!r} is not known to this release: update osd-edge",
        )
    return LayerFacts(activation, (shape[0], shape[1]), rank)


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_DIMENSION
