"""Checks the inputs of a run before onnxruntime sees them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from osd_edge.data.arguments import described
from osd_edge.errors import Code, InputError, shown
from osd_edge.formats.package.manifest import PIXELS, BaseManifest
from osd_edge.runtime.images import as_array, image_inputs

RunInputs = Mapping[str, ArrayLike]  # of a run, by name, as a caller gives them


def base_inputs(manifest: BaseManifest, inputs: RunInputs) -> dict[str, NDArray[Any]]:
    """Checks the inputs of a base of either sort: by `image_inputs`, or by `token_inputs`."""
    if not isinstance(inputs, Mapping):
        raise InputError(
            Code.INPUT_NAMES, f"expected arrays by the names of inputs, found {described(inputs)}"
        )
    if manifest.inputs == (PIXELS,):
        return {**image_inputs(inputs)}
    return {**token_inputs(manifest, inputs)}


def token_inputs(manifest: BaseManifest, inputs: RunInputs) -> dict[str, NDArray[np.int64]]:
    """Checks token inputs `[batch, tokens]`, fills in defaults, and gives them as int64.

    Lists of lists are taken as arrays are, and masks of True and False as ones and zeros.
    `attention_mask` defaults to ones, others to zeros. Raises InputError `input.names`,
    `input.shape`.
    """
    unknown = set(inputs) - set(manifest.inputs)
    ids = inputs.get("input_ids")
    if unknown or ids is None:
        raise InputError(
            Code.INPUT_NAMES,
            f"expected inputs {', '.join(manifest.inputs)}, found "
            f"{shown(', '.join(map(str, inputs)), 100)}",
        )
    feeds = {}
    given = {name: as_array(values, name) for name, values in inputs.items()}
    shape = given["input_ids"].shape
    for name in manifest.inputs:
        if name in given:
            array = given[name]
        else:
            array = np.full(shape, int(name == "attention_mask"), np.int64)
        kinds = "iu" if name == "input_ids" else "iub"  # True where there is a token
        if array.ndim != 2 or array.shape != shape or 0 in shape or array.dtype.kind not in kinds:
            raise InputError(
                Code.INPUT_SHAPE,
                f"{name}: expected integers [batch, tokens] like input_ids, "
                f"found {array.dtype} {list(array.shape)}",
            )
        if array.min() < 0 or array.max() >= 2**31:
            raise InputError(Code.INPUT_SHAPE, f"{name} holds numbers that are no token ids")
        feeds[name] = array.astype(np.int64, copy=False)
    return feeds


def as_list(values: Any) -> Any:
    """Gives a numpy array as a list of plain values, and anything else as it is."""
    return values.tolist() if isinstance(values, np.ndarray) else values
