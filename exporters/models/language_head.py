"""The head of a causal language model: the layer that turns hidden states into logits of tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.backbone import Backbone, described_model
from osd_edge.exporters.models.checkpoint import first_line
from osd_edge.exporters.models.module_names import checkpoint_name


@dataclass(frozen=True)
class LanguageHead:
    """A linear layer over hidden states: `weight` `[vocabulary, hidden]` and `bias`, by name.

    Names are those of tensors in the checkpoint. Where the weight is `tied`, it is the backbone's
    own table of embeddings, under the name that it has in the backbone.
    """

    weight: str
    bias: str | None
    tied: bool
    vocabulary: int


def language_head(backbone: Backbone) -> LanguageHead:
    """The language model's head in the checkpoint of `backbone`.

    Raises ModelError `model.tensor` where the checkpoint lacks it; `model.shape` where it has
    another shape; `model.config` where the configuration ties it to the embeddings, and the
    checkpoint has others.
    """
    checkpoint, table = backbone.checkpoint, _embeddings(backbone)
    own, has_bias = _output_layer(checkpoint)
    weight = f"{own}.weight"
    tied = bool(checkpoint.config.tie_word_embeddings)
    if not tied and weight not in checkpoint:
        raise ModelError(
            Code.MODEL_TENSOR,
            f"{checkpoint.folder} has no {weight}, which a language model whose head is not tied "
            "to its embeddings has: give the checkpoint of the whole model",
        )
    if weight in checkpoint:
        _check_shape(backbone, weight, table)
        same = torch.equal(checkpoint.values(weight), checkpoint.values(table))
        if tied and not same:
            raise ModelError(
                Code.MODEL_CONFIG,
                f"{checkpoint.folder}: config.json ties {weight} to the embeddings, and the "
                "checkpoint has other values for it: set tie_word_embeddings to false",
            )
        tied = same
    bias = f"{own}.bias" if has_bias else None
    if bias is not None and bias not in checkpoint:
        raise ModelError(Code.MODEL_TENSOR, f"{checkpoint.folder} has no {bias}")
    return LanguageHead(
        table if tied else weight, bias, tied, vocabulary=backbone.parameters[table][0]
    )


def _check_shape(backbone: Backbone, weight: str, table: str) -> None:
    found, expected = backbone.checkpoint.shape(weight), backbone.parameters[table]
    if found != expected:
        raise ModelError(
            Code.MODEL_SHAPE,
            f"{backbone.checkpoint.folder}: {weight} has shape {list(found)}, expected "
            f"{list(expected)}",
        )


def _embeddings(backbone: Backbone) -> str:
    """The name of the table of tokens' embeddings in the backbone."""
    model = described_model(backbone.checkpoint, backbone.family, backbone.has_pooler)
    weight = model.get_input_embeddings().weight
    name = next(name for name, parameter in model.named_parameters() if parameter is weight)
    return checkpoint_name(backbone.family, name)


def _output_layer(checkpoint: Any) -> tuple[str, bool]:
    """The module path of the head in the checkpoint's model class, and whether it has a bias."""
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(checkpoint.config)
    except Exception as error:  # no such class for this family, or impossible numbers
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{checkpoint.folder}: config.json describes no language model: {first_line(error)}",
        ) from error
    layer = model.get_output_embeddings()
    name = next(name for name, module in model.named_modules() if module is layer)
    return name, layer.bias is not None
