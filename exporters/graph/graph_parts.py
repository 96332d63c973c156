"""The weights of a written graph: each is stored once, as it will be read, and then let go.

`fp32` as a product takes it; `fp16` with a Cast that onnxruntime undoes at opening; `int8` and
`int4` in MatMulNBits, which takes x as it is and rounds it block by block. The values are those of
`osd_edge.exporters.models.rounding`, for every kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from osd_edge.errors import shown
from osd_edge.exporters.graph.external_data import INLINE_BYTES, append_weight
from osd_edge.exporters.models.rounding import BLOCK, int4_blocks, int8_rows, to_fp16

CONTRIB = "com.microsoft"
_INT8_ACTIVATIONS = 4  # MatMulNBits: products in int8, by blocks of x
_ZERO = {4: 8, 8: 128}  # the operator's own zero, by bits


@dataclass(frozen=True)
class GraphParts:
    """The nodes and initializers of a graph that is being written, and where its weights go."""

    folder: Path
    location: str
    nodes: list[onnx.NodeProto]
    initializers: dict[str, onnx.TensorProto]

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output, named for it; gives the output."""
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any] | np.float32) -> str:
        """Adds an initializer, unless it is there: large ones in the file of weights."""
        if name not in self.initializers:
            array = np.asarray(value, order="C")
            self.initializers[name] = (
                append_weight(name, array, self.folder, self.location)
                if array.nbytes >= INLINE_BYTES
                else numpy_helper.from_array(array, name)
            )
        return name


def product(parts: GraphParts, name: str, x: str, weight: NDArray[Any], kind: str) -> str:
    """Adds y = x Wᵀ, W `weight` `[n, d]` stored as `kind`; gives y, called `name`/product."""
    y = f"{name}/product"
    if kind == "fp32":
        return parts.node("MatMul", [x, parts.constant(f"{name}.weight", weight.T)], y)
    if kind == "fp16":
        stored = parts.constant(f"{name}.weight.fp16", fp16_of(f"{name}.weight", weight).T)
        wide = parts.node("Cast", [stored], f"{name}/weight", to=TensorProto.FLOAT)
        return parts.node("MatMul", [x, wide], y)
    bits = 4 if kind == "int4" else 8
    names = [parts.constant(f"{name}.weight.{end}", a) for end, a in blocks_of(weight, bits)]
    return nbits(parts, y, x, (*names,), weight.shape, bits)


def nbits(
    parts: GraphParts, y: str, x: str, stored: Sequence[str], shape: tuple[int, ...], bits: int
) -> str:
    """Adds a product y of x with codes and scales that are `stored`, of a matrix of `shape`."""
    return parts.node(
        "MatMulNBits",
        [x, *stored],
        y,
        domain=CONTRIB,
        N=shape[0],
        K=shape[1],
        bits=bits,
        block_size=BLOCK,
        accuracy_level=_INT8_ACTIVATIONS,
    )


def blocks_of(weight: NDArray[Any], bits: int) -> list[tuple[str, NDArray[Any]]]:
    """Codes `[n, blocks, bytes]` and scales `[n, blocks]` of `weight`, for MatMulNBits."""
    if bits == 4:
        rounded = int4_blocks(weight)
        fields = (rounded.codes + _ZERO[4]).astype(np.uint8)
        return [("int4", fields[:, :, 0::2] | fields[:, :, 1::2] << 4), ("scales", rounded.scales)]
    rows = int8_rows(weight)
    n, d = weight.shape
    count = -(-d // BLOCK)
    codes = rows.codes[:, 0].view(np.uint8)
    codes ^= _ZERO[8]  # adding 128 turns a byte's topmost bit over, and does nothing else
    if d % BLOCK:
        codes = np.pad(codes, ((0, 0), (0, count * BLOCK - d)), constant_values=_ZERO[8])
    # One scale a row, as everywhere: the operator wants it for each block.
    scales = np.repeat(rows.scales, count, axis=1)
    return [("int8", codes.reshape(n, count, BLOCK)), ("scales", scales)]


def fp16_of(name: str, weight: NDArray[Any]) -> NDArray[np.float16]:
    """`weight` in fp16; raises ModelError `model.range`."""
    largest = max(weight.max(), -weight.min())
    return to_fp16(
        weight,
        f"{shown(name)} holds {largest:.6g}, which is too large for fp16: store the weights in "
        "fp32, int8 or int4",
    )
