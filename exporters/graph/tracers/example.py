"""Gives what every tracer needs: example inputs, the axes that are free, the wanted outputs."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from transformers import DynamicCache

from osd_edge.errors import Code, ModelError, shown
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.package.generation import Generation

HIDDEN_OUTPUT = "last_hidden_state"
POOLER_OUTPUT = "pooler_output"
TORCHSCRIPT_OPSET = 17
BATCH, TOKENS = "batch_size", "sequence_length"
PAST, ALL_TOKENS = "past_length", "past_and_sequence_length"

_ROWS, _LENGTH, _PAST = 2, 16, 5  # what is traced; all are free in the graph


def example_inputs(
    backbone: Backbone, generation: Generation | None = None
) -> dict[str, torch.Tensor]:
    """An input for each of the family's tensors, in the order that the family lists them.

    Token tensors are `[2, 16]` (int64), with a token of padding in one row; pictures
    `[2, channels, height, width]` (float32). With `generation` there are keys and values
    `[2, heads, 5, size]` of earlier tokens too, and the mask covers these, `[2, 21]`.
    """
    config = backbone.checkpoint.config
    tokens = (_ROWS, _LENGTH)
    mask = torch.ones(_ROWS, _LENGTH + (_PAST if generation else 0), dtype=torch.int64)
    mask[0, -1] = 0
    made: dict[str, Callable[[], torch.Tensor]] = {
        "input_ids": lambda: torch.arange(_ROWS * _LENGTH).reshape(tokens) % config.vocab_size,
        "attention_mask": lambda: mask,
        "token_type_ids": lambda: torch.zeros(tokens, dtype=torch.int64),
        "pixel_values": lambda: torch.zeros(_ROWS, config.num_channels, *_picture_size(config)),
    }
    examples = {name: made[name]() for name in backbone.family.inputs}
    if generation is not None:
        shape = (_ROWS, generation.heads, _PAST, generation.head_size)
        examples |= {name: torch.zeros(shape) for name in generation.past}
    return examples


def input_axes(
    backbone: Backbone, generation: Generation | None = None
) -> dict[str, dict[int, str]]:
    """The free axes of each input: rows and tokens, or all of a picture's."""
    picture = {0: BATCH, 1: "num_channels", 2: "height", 3: "width"}
    tokens = {0: BATCH, 1: TOKENS}
    axes = {n: picture if n == "pixel_values" else tokens for n in backbone.family.inputs}
    if generation is not None:
        axes["attention_mask"] = {0: BATCH, 1: ALL_TOKENS}
        axes |= {name: {0: BATCH, 2: PAST} for name in generation.past}
    return axes


def output_axes(
    backbone: Backbone, generation: Generation | None = None
) -> dict[str, dict[int, str]]:
    """The free axes of each output of the graph, the hidden states first."""
    # A picture has as many patches in every row, but that is not the graph's to say.
    axes = {HIDDEN_OUTPUT: {0: BATCH} if backbone.family.reads_images else {0: BATCH, 1: TOKENS}}
    if generation is not None:
        return axes | {name: {0: BATCH, 2: ALL_TOKENS} for name in generation.present}
    return axes | ({POOLER_OUTPUT: {0: BATCH}} if backbone.has_pooler else {})


def take_tensors(model: Any, backbone: Backbone, generation: Generation | None = None) -> None:
    """Make `model` take its inputs in order and give its outputs alone, as exporters want it."""
    if generation is not None:
        _take_caches(model, generation)
        return
    names, outputs = list(backbone.family.inputs), list(output_axes(backbone))
    whole = type(model).forward
    model.config.use_cache = False

    def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, tensors, strict=True))
        answer = whole(model, **given, return_dict=True)
        return tuple(answer[name] for name in outputs)

    model.forward = forward


def _take_caches(model: Any, generation: Generation) -> None:
    """Make a decoder take tokens, a mask and past keys and values, and give the new ones too."""
    whole = type(model).forward
    # Transformers 5 has another name for what 4 calls past_key_values.
    names = inspect.signature(whole).parameters
    cached = "cache" if "cache" in names else "past_key_values"

    def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ids, mask, *past = tensors
        cache = DynamicCache()
        for layer in range(generation.layers):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        # A row's own count of tokens: padding may stand between past columns and these.
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, mask.shape[1] - ids.shape[1] :]
        answer = whole(
            model,
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            return_dict=True,
            **{cached: cache},
        )
        presents = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return (answer.last_hidden_state, *presents)

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
