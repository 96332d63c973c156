"""The facts of a decoder's layers, read off the model that its configuration describes.

The model's own modules say what they compute, in whichever way this transformers reads the
configuration: so nothing here knows the names of settings.
"""

from dataclasses import dataclass
from typing import Any

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.graph.decoder.rotary import rotary_name
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.families import DecoderNames

# Names of activations in transformers, and of what onnxruntime computes them by.
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu": "gelu"} | dict.fromkeys(
    ("gelu_pytorch_tanh", "gelu_new", "gelu_fast"), "gelu-tanh"
)

_HEAD_UNIT = 16  # features of a head come in so many, where the operator rotates them


@dataclass(frozen=True)
class LayerShape:
    """The facts of one decoder layer.

    `heads` and `kv_heads` are of queries and of keys and values, `size` features of each; scores
    are multiplied by `scale`. `window` is how many tokens a token sees, itself among them, None for
    all. `rotary` names the table of rotary positions, None for a layer without positions. With
    `head_norms` queries and keys are normalised head by head.
    """

    path: str
    heads: int
    kv_heads: int
    size: int
    scale: float
    window: int | None
    rotary: str | None
    head_norms: bool


@dataclass(frozen=True)
class DecoderShape:
    """The facts of a decoder: its layers, and what they share.

    Embeddings are multiplied by `embedding_scale`. `epsilon` is added to the mean square in norms.
    `softcap` bounds scores of attention, `logit_softcap` logits; 0 is no bound.
    """

    layers: tuple[LayerShape, ...]
    names: DecoderNames
    activation: str
    epsilon: float
    embedding_scale: float
    softcap: float
    logit_softcap: float


def decoder_shape(backbone: Backbone, model: Any) -> DecoderShape:
    """The shape of `backbone`, whose weightless torch model is `model`.

    Raises ModelError `model.config` for what the graph's operators do not compute.
    """
    names = backbone.family.decoder
    assert names is not None
    config = backbone.checkpoint.config
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if activation not in _ACTIVATIONS:
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{backbone.checkpoint.folder} has the activation {shown(repr(activation), 40)}: "
            f"expected one of {', '.join(_ACTIVATIONS)}",
        )
    if getattr(config, "use_bidirectional_attention", None):
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{backbone.checkpoint.folder} has attention to both sides: no decoder that is known",
        )
    return DecoderShape(
        layers=tuple(_layer(backbone, i, layer) for i, layer in enumerate(model.layers)),
        names=names,
        activation=_ACTIVATIONS[activation],
        epsilon=float(config.rms_norm_eps),
        embedding_scale=float(getattr(model.embed_tokens, "embed_scale", 1.0)),
        softcap=float(getattr(config, "attn_logit_softcapping", None) or 0),
        logit_softcap=float(getattr(config, "final_logit_softcapping", None) or 0),
    )


def _layer(backbone: Backbone, index: int, layer: Any) -> LayerShape:
    attention = layer.self_attn
    config = backbone.checkpoint.config
    heads = int(config.num_attention_heads)
    window = _window(backbone, attention)
    rotates = bool(getattr(attention, "use_rope", True))
    size = int(attention.head_dim)
    if size % _HEAD_UNIT:
        raise ModelError(
            Code.MODEL_CONFIG,
            f"{backbone.checkpoint.folder} has heads of {size} features: onnxruntime's attention "
            f"takes multiples of {_HEAD_UNIT}",
        )
    return LayerShape(
        path=f"layers.{index}",
        heads=heads,
        kv_heads=heads // int(attention.num_key_value_groups),
        size=size,
        scale=float(attention.scaling),
        window=window,
        rotary=rotary_name(window) if rotates else None,
        head_norms=hasattr(attention, "q_norm"),
    )


def _window(backbone: Backbone, attention: Any) -> int | None:
    names = backbone.family.decoder
    assert names is not None
    if names.window is not None:  # of all layers, in the configuration alone
        window = getattr(backbone.checkpoint.config, names.window, None)
    else:
        window = getattr(attention, "sliding_window", None)
    return None if window is None else int(window)
