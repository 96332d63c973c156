"""Rounding of base weights for storage, the same for numpy and for torch.

* `fp16`: every weight to the nearest fp16.
* `int8`: symmetric, one scale for each output of a layer (row of `[n, d]`): max |w| / 127.
* `int4`: symmetric, one scale for each 32 inputs of an output: the weight w of largest magnitude
  becomes -8, so the scale is -w / 8 and the codes go from -8 to 7.

Embeddings are rounded row by row as in `int8` where layers are `int8` or `int4`. Biases and
LayerNorms stay fp32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, ModelError, shown

BLOCK = 32  # inputs that share a scale in int4
_ELEMENTS = 1 << 22  # 16 MiB in float32
SMALL_TABLE = 1024  # elements: an embedding of fewer (token types) stays fp32
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """Codes `[n, blocks, block]` and their scales `[n, blocks]`; width `d` before padding."""

    codes: NDArray[np.int8]
    scales: Floats
    d: int

    def values(self) -> Floats:
        """The values that the codes stand for, `[n, d]`."""
        whole: Any = self.codes.astype(np.float32) * self.scales[:, :, None]
        values: Floats = whole.reshape(len(whole), -1)[:, : self.d]
        return values


def int8_rows(weight: Floats) -> Rounded:
    """Rows of `weight` `[n, d]` with a scale each."""
    n, d = weight.shape
    scales, codes = np.empty(n, np.float32), np.empty((n, d), np.int8)
    for rows in _parts(weight):
        part = weight[rows]
        scale = (np.abs(part).max(axis=1) / 127).astype(np.float32)
        scale[scale == 0] = 1
        codes[rows] = np.clip(np.rint(part / scale[:, None]), -127, 127)
        scales[rows] = scale
    return Rounded(codes[:, None], scales[:, None], d)


def int4_blocks(weight: Floats) -> Rounded:
    """Rows of `weight` `[n, d]` with a scale for every 32 inputs; the last block is filled up."""
    n, d = weight.shape
    count = -(-d // BLOCK)
    scales, codes = np.empty((n, count), np.float32), np.empty((n, count, BLOCK), np.int8)
    for rows in _parts(weight):
        filled = np.zeros((len(weight[rows]), count * BLOCK), np.float32)
        filled[:, :d] = weight[rows]
        blocks = filled.reshape(-1, count, BLOCK)
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)
        scale = (largest / -8).astype(np.float32)
        scale[scale == 0] = 1
        codes[rows] = np.clip(np.rint(blocks / scale), -8, 7)
        scales[rows] = scale[:, :, 0]
    return Rounded(codes, scales, d)


def _parts(weight: Floats) -> Iterator[slice]:
    """Rows of `weight` to round at a time: rounding takes several copies of them."""
    step = max(1, _ELEMENTS // max(1, weight.shape[1]))
    return (slice(start, start + step) for start in range(0, len(weight), step))


def as_stored(
    weight: Floats, kind: str, *, embedding: bool = False, name: str = "a matrix"
) -> Floats:
    """The values that the matrix `name` `[n, d]` has in a package whose weights are of `kind`.

    Raises ModelError `model.range` where one is too large for `fp16`.
    """
    if kind == "fp32" or (embedding and weight.size < SMALL_TABLE):
        return weight
    if kind == "fp16":
        return fp16_values(name, weight).astype(np.float32)
    rounded = int4_blocks(weight) if kind == "int4" and not embedding else int8_rows(weight)
    return rounded.values()


def fp16_values(name: str, weight: NDArray[Any]) -> NDArray[np.float16]:
    """The base's weight `name` in fp16; raises ModelError `model.range` as `to_fp16` does."""
    return to_fp16(
        weight,
        f"{shown(name)} holds {np.abs(weight).max():.6g}, which is too large for fp16: take fp32, "
        "int8 or int4 for the base's weights",
    )


def to_fp16(values: NDArray[Any], refusal: str) -> NDArray[np.float16]:
    """`values` in fp16; raises ModelError `model.range` with `refusal` where one is too large."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ModelError(Code.MODEL_RANGE, refusal)
    return rounded
