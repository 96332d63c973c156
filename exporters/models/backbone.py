"""The backbone of a checkpoint: its parameters, and its linear layers, which are the sites."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import Family, family_of
from osd_edge.exporters.models.linear import linear_shape
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.unreadable import first_line
from osd_edge.formats.limits import MAX_DIMENSION


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer of the backbone: module path, n outputs, d inputs."""

    name: str
    n: int
    d: int


@dataclass(frozen=True)
class Backbone:
    """The backbone of a base checkpoint.

    `layers` are all linear layers in module order, which is the order of the site table;
    `parameters` maps every parameter's name to its shape as stored. A pooler belongs to the
    backbone only where the checkpoint has weights for it.
    """

    checkpoint: Checkpoint
    family: Family
    has_pooler: bool
    layers: tuple[LinearLayer, ...]
    parameters: dict[str, tuple[int, ...]]

    @property
    def hidden_size(self) -> int:
        """Features of a hidden state."""
        return int(
            getattr(self.checkpoint.config, "word_embed_proj_dim", None)
            or self.checkpoint.config.hidden_size
        )


def backbone_of(base: Checkpoint) -> Backbone:
    """The backbone of `base`; raises ModelError where weights lack or have another shape."""
    family = family_of(base.config)
    has_pooler = family.pooler is not None and f"{family.pooler.path}.weight" in base
    model = described_model(base, family, has_pooler)
    layers = tuple(
        LinearLayer(checkpoint_name(family, name), *shape)
        for name, module in model.named_modules()
        if (shape := linear_shape(module)) is not None
    )
    wide = [layer.name for layer in layers if max(layer.n, layer.d) > MAX_DIMENSION]
    if wide:
        raise ModelError(Code.MODEL_SHAPE, f"{wide[0]} is wider than {MAX_DIMENSION} features")
    parameters = {
        checkpoint_name(family, name): tuple(p.shape) for name, p in model.named_parameters()
    }
    _check_positions(base, parameters)
    backbone = Backbone(base, family, has_pooler, layers, parameters)
    check_parameters(base, backbone, parameters)
    return backbone


def _check_positions(base: Checkpoint, parameters: Collection[str]) -> None:
    """Refuse relative positions that the installed transformers leaves out, as version 5 does."""
    kind = getattr(base.config, "position_embedding_type", None) or "absolute"
    if kind != "absolute" and not any("distance_embedding" in name for name in parameters):
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{base.folder} has positions of type {shown(str(kind), 40)}, which the installed "
            "transformers does not compute: export it with transformers 4.57",
        )


def described_model(checkpoint: Checkpoint, family: Family, has_pooler: bool) -> Any:
    """The backbone that `config.json` describes, without weights; raises ModelError."""
    try:
        with torch.device("meta"):
            return AutoModel.from_config(checkpoint.config, **pooling_option(family, has_pooler))
    except Exception as error:  # whatever a model class makes of impossible numbers
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{checkpoint.folder}: config.json describes no model: {first_line(error)}",
        ) from error


def check_parameters(checkpoint: Checkpoint, backbone: Backbone, names: Any) -> None:
    """Refuse a checkpoint that lacks a parameter of `names`, or has it in another shape."""
    for name in names:
        expected = backbone.parameters[name]
        if name not in checkpoint:
            raise ModelError(
                Code.MODEL_ARCHITECTURE,
                f"{checkpoint.folder} has no {name}, which a {backbone.family.model_type} model of "
                "this configuration has",
            )
        found = checkpoint.shape(name)
        if found != expected:
            words = getattr(checkpoint.config, "vocab_size", None)
            resized = words in (expected[0], found[0]) and "position" not in name
            hint = "; resized vocabularies cannot share a base" if resized else ""
            raise ModelError(
                Code.MODEL_VOCABULARY if resized else Code.MODEL_SHAPE,
                f"{checkpoint.folder}: {name} has shape {list(found)}, expected "
                f"{list(expected)}{hint}",
            )


def pooling_option(family: Family, has_pooler: bool) -> dict[str, bool]:
    """The option by which a model class is built with or without its pooler."""
    return {} if family.pooler is None else {"add_pooling_layer": has_pooler}
