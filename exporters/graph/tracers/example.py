"""Gives what every tracer needs: example inputs, the axes that are free, the wanted outputs."""

from collections.abc import Callable
from typing import Any

import torch

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.backbone import Backbone

HIDDEN_OUTPUT = "last_hidden_state"
POOLER_OUTPUT = "pooler_output"
TORCHSCRIPT_OPSET = 17
BATCH, TOKENS = "batch_size", "sequence_length"

_ROWS, _LENGTH = 2, 16  # what is traced; both are free in the graph


def example_inputs(backbone: Backbone) -> dict[str, torch.Tensor]:
    """An input for each of the family's tensors, in the order that the family lists them.

    Token tensors are `[2, 16]` (int64), with a token of padding in one row; pictures
    `[2, channels, height, width]` (float32).
    """
    config = backbone.checkpoint.config
    tokens = (_ROWS, _LENGTH)
    mask = torch.ones(tokens, dtype=torch.int64)
    mask[0, -1] = 0
    made: dict[str, Callable[[], torch.Tensor]] = {
        "input_ids": lambda: torch.arange(_ROWS * _LENGTH).reshape(tokens) % config.vocab_size,
        "attention_mask": lambda: mask,
        "token_type_ids": lambda: torch.zeros(tokens, dtype=torch.int64),
        "pixel_values": lambda: torch.zeros(_ROWS, config.num_channels, *_picture_size(config)),
    }
    return {name: made[name]() for name in backbone.family.inputs}


def input_axes(backbone: Backbone) -> dict[str, dict[int, str]]:
    """The free axes of each input: rows and tokens, or all of a picture's."""
    picture = {0: BATCH, 1: "num_channels", 2: "height", 3: "width"}
    tokens = {0: BATCH, 1: TOKENS}
    return {n: picture if n == "pixel_values" else tokens for n in backbone.family.inputs}


def output_axes(backbone: Backbone) -> dict[str, dict[int, str]]:
    """The free axes of each output of the graph, the hidden states first."""
    # A picture has as many patches in every row, but that is not the graph's to say.
    axes = {HIDDEN_OUTPUT: {0: BATCH} if backbone.family.reads_images else {0: BATCH, 1: TOKENS}}
    return axes | ({POOLER_OUTPUT: {0: BATCH}} if backbone.has_pooler else {})


def take_tensors(model: Any, backbone: Backbone) -> None:
    """Make `model` take its inputs in order and give its outputs alone, as exporters want it."""
    names, outputs = list(backbone.family.inputs), list(output_axes(backbone))
    whole = type(model).forward
    model.config.use_cache = False

    def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, tensors, strict=True))
        answer = whole(model, **given, return_dict=True)
        return tuple(answer[name] for name in outputs)

    model.forward = forward


def _picture_size(config: Any) -> tuple[int, int]:
    size = config.image_size
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ModelError(
            Code.MODEL_CONFIG,
            f"config.json has image_size {shown(repr(size), 40)}: expected one or two whole "
            "numbers of 1 or more",
        )
    return sides
