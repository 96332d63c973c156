"""The head of a causal language model: the layer that turns hidden states into logits of tokens.

It is no part of the backbone, no site, and not in the fingerprint.
"""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.models.backbone import Backbone, described_model
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.families import Family
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.unreadable import first_line


@dataclass(frozen=True)
class LanguageHead:
    """The tensors of the head, by their names in the checkpoint.

    `weight` `[vocabulary, hidden]` is `table`, the backbone's embeddings of tokens, where both are
    tied, which is then stored once.
    """

    table: str
    weight: str
    bias: str | None
    vocabulary: int

    @property
    def tied(self) -> bool:
        """Says whether logits are made by the table of embeddings."""
        return self.weight == self.table


def language_head(backbone: Backbone) -> LanguageHead:
    """The head of the language model in the checkpoint of `backbone`.

    Raises ModelError: `model.head` for a family that writes no text; `model.config` where the
    configuration is none of a language model, or ties weights of which the checkpoint has two;
    `model.tensor` where the head is not there; `model.shape` where it has another shape.
    """
    checkpoint, path = backbone.checkpoint, backbone.family.lm_head
    if path is None:
        raise ModelError(
            Code.MODEL_HEAD,
            f"{checkpoint.folder} is a {backbone.family.model_type} model, which writes no text: "
            "expected a decoder such as llama, qwen3 or gpt2",
        )
    table = _embeddings(backbone)
    weight, bias = f"{path}.weight", f"{path}.bias" if _has_bias(checkpoint, path) else None
    vocabulary, features = backbone.parameters[table]
    tied = bool(checkpoint.config.tie_word_embeddings)
    if not tied or weight in checkpoint:
        _check_shape(checkpoint, weight, (vocabulary, features))
    if bias is not None:
        _check_shape(checkpoint, bias, (vocabulary,))
    same = weight not in checkpoint or torch.equal(
        checkpoint.stored(weight), checkpoint.stored(table)
    )
    if tied and not same:
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{checkpoint.folder}: config.json ties {weight} to {table}, and the checkpoint has "
            "other values for it: set tie_word_embeddings to false",
        )
    return LanguageHead(table, table if same else weight, bias, vocabulary)


def logits_weight(checkpoint: Checkpoint, family: Family) -> str | None:
    """The tensor `[tokens, features]` that gives `checkpoint` its logits; None without one.

    Names alone tell it, for checkpoints without a known backbone, or whose head may be missing.
    """
    if family.lm_head is None:
        return None
    own = f"{family.lm_head}.weight"
    if own in checkpoint:
        return own
    words = getattr(checkpoint.config, "vocab_size", None)
    for name in checkpoint.backbone_names():
        if name.endswith(("embed_tokens.weight", "wte.weight")):
            return name if checkpoint.shape(name)[0] == words else None
    return None


def _check_shape(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> None:
    if name not in checkpoint:
        raise ModelError(
            Code.MODEL_TENSOR,
            f"{checkpoint.folder} has no {name}, which turns hidden states into logits: give the "
            "checkpoint of the whole language model",
        )
    if checkpoint.shape(name) != shape:
        raise ModelError(
            Code.MODEL_SHAPE,
            f"{checkpoint.folder}: {name} has shape {list(checkpoint.shape(name))}, expected "
            f"{list(shape)}",
        )


def _embeddings(backbone: Backbone) -> str:
    """The name of the table of tokens' embeddings in the backbone."""
    model = described_model(backbone.checkpoint, backbone.family, backbone.has_pooler)
    weight = model.get_input_embeddings().weight
    name = next(name for name, parameter in model.named_parameters() if parameter is weight)
    return checkpoint_name(backbone.family, name)


def _has_bias(checkpoint: Checkpoint, path: str) -> bool:
    """Says whether the head at `path` has a bias in the model's class, whatever the file has."""
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(checkpoint.config)
    except Exception as error:  # whatever a model class makes of impossible numbers
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{checkpoint.folder}: config.json describes no language model: {first_line(error)}",
        ) from error
    return model.get_submodule(path).bias is not None
