"""The tables of rotary positions, as the model's own module computes them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.errors import Code, ModelError, shown

FULL, SLIDING = "full", "sliding"
_BY_LENGTH = ("dynamic", "longrope")  # whose angles change with the length of the text
Angles = tuple[NDArray[np.float32], NDArray[np.float32]]


def rotary_name(window: int | None) -> str:
    """The name of the table of a layer with this window."""
    return FULL if window is None else SLIDING


def rotary_tables(model: Any, context: int, folder: object) -> dict[str, Angles]:
    """Cosines and sines `[context, size / 2]` by the name of the table.

    Most models have one for all layers, Gemma's layers with a window another one. Raises ModelError
    `model.config`, for the checkpoint in `folder`, where angles change with the text's length.
    """
    rotary = model.rotary_emb
    kinds = getattr(rotary, "rope_type", "default")
    for kind in kinds.values() if isinstance(kinds, dict) else (kinds,):
        if kind in _BY_LENGTH:
            raise ModelError(
                Code.MODEL_CONFIG,
                f"{folder} has rotary positions of type {shown(str(kind), 40)}, whose angles "
                "change with the length of a text: set rope_scaling to null for texts up to the "
                "original length",
            )
    if isinstance(kinds, dict):  # transformers 5
        calls = {name: (rotary, {"layer_type": f"{name}_attention"}) for name in (FULL, SLIDING)}
        calls = {n: c for n, c in calls.items() if f"{n}_attention" in kinds}
    elif hasattr(model, "rotary_emb_local"):
        calls = {FULL: (rotary, {}), SLIDING: (model.rotary_emb_local, {})}
    else:
        calls = {FULL: (rotary, {}), SLIDING: (rotary, {})}
    return {name: _table(module, context, given) for name, (module, given) in calls.items()}


def _table(module: Any, context: int, given: dict[str, str]) -> Angles:
    with torch.no_grad():
        cos, sin = module(torch.zeros(1), torch.arange(context)[None], **given)
    own = cos.shape[-1] // 2  # what comes after repeats it
    return cos[0, :, :own].float().numpy(), sin[0, :, :own].float().numpy()
