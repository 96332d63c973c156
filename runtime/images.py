"""Checks and prepares pictures for a base that takes `pixel_values` in the place of texts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.manifest import PIXELS, BaseManifest
from osd_edge.formats.package.pixels import pixel_values


def as_array(value: object, name: str) -> NDArray[Any]:
    """Gives a list of lists, or what else numpy takes, as an array.

    Raises InputError `input.shape` for what numpy refuses, such as rows of several lengths.
    """
    try:
        return np.asarray(value)
    except Exception as error:
        if not raised_by("numpy", error):
            raise
        reason = shown(str(error), 200)
        raise InputError(Code.INPUT_SHAPE, f"{name} is ragged, or no array: {reason}") from error


def image_inputs(inputs: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Checks `pixel_values` `[batch, channels, height, width]`, and gives them as float32.

    Raises InputError `input.names`, `input.shape`.
    """
    if set(inputs) != {PIXELS}:
        raise InputError(
            Code.INPUT_NAMES,
            f"expected {PIXELS}, found {shown(', '.join(map(str, inputs)), 100)}",
        )
    array = as_array(inputs[PIXELS], PIXELS)
    if array.ndim != 4 or 0 in array.shape or array.dtype.kind != "f":
        raise InputError(
            Code.INPUT_SHAPE,
            f"{PIXELS}: expected floats [batch, channels, height, width], found {array.dtype} "
            f"{list(array.shape)}",
        )
    if not np.isfinite(array).all():
        raise InputError(Code.INPUT_SHAPE, f"{PIXELS} holds NaN or infinity")
    return {PIXELS: array.astype(np.float32, copy=False)}


def normalised(manifest: BaseManifest, images: ArrayLike) -> dict[str, Floats]:
    """Turns pictures `[batch, height, width, channels]`, integers 0 to 255, into inputs for a run.

    They must have the base's own size: resizing is for a library of pictures. Raises BaseError
    `base.image` where the base takes none, or does not say how; InputError `input.shape`.
    """
    settings = manifest.image
    if settings is None:
        raise BaseError(
            Code.BASE_IMAGE,
            "this base package does not say how pictures are prepared: export it from "
            "a model with a preprocessor_config.json",
        )
    array = as_array(images, "pictures")
    expected = (settings.height, settings.width, settings.channels)
    if array.ndim != 4 or array.shape[1:] != expected or array.dtype != np.uint8:
        raise InputError(
            Code.INPUT_SHAPE,
            f"expected uint8 [batch, {', '.join(map(str, expected))}], found {array.dtype} "
            f"{list(array.shape)}",
        )
    return {PIXELS: pixel_values(array, settings)}
