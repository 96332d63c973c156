"""Proves a written graph: each layer's stored weights are the checkpoint's, value by value."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, ModelError
from osd_edge.exporters.graph.plain_graph import PlainGraph
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.rounding import as_stored

_ZERO = {"int4": 8, "int8": 128}


def prove_layers(
    written: PlainGraph, folder: Path, backbone: Backbone, kind: str, progress: Progress = silent
) -> None:
    """Compares what the graph in `folder` multiplies with to the checkpoint's weights as `kind`.

    What is compared is read back from the file, at the rows that each layer of a packed product
    has. Raises ModelError `model.graph` where a layer differs, or is in no product, or in two.
    """
    stored = {tensor.name: tensor for tensor in written.model.graph.initializer}
    left = {layer.name for layer in backbone.layers}
    for product in progress(written.products, "Proving layers"):
        whole = _values(stored, product.name, product.whole.d, folder)
        start = 0
        for layer in product.layers:
            expected = as_stored(backbone.checkpoint.float32(f"{layer.name}.weight").numpy(), kind)
            found = whole[start : start + layer.n]
            if layer.name not in left or not np.array_equal(found, expected):
                raise ModelError(
                    Code.MODEL_GRAPH,
                    f"{product.name} of the graph does not hold the weights of {layer.name}",
                )
            left.remove(layer.name)
            start += layer.n
    if left:
        raise ModelError(Code.MODEL_GRAPH, f"the graph has no product for {min(left)}")


def _values(
    stored: dict[str, onnx.TensorProto], name: str, d: int, folder: Path
) -> NDArray[np.float32]:
    """The matrix `[n, d]` of a product, as onnxruntime's operators understand what is stored."""

    def read(end: str) -> NDArray[Any]:
        return numpy_helper.to_array(stored[f"{name}.weight{end}"], str(folder))

    if f"{name}.weight" in stored:
        return read("").T
    if f"{name}.weight.fp16" in stored:
        return read(".fp16").T.astype(np.float32)
    kind = "int4" if f"{name}.weight.int4" in stored else "int8"
    codes = read(f".{kind}")
    if kind == "int4":
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1)
    centred = codes.astype(np.float32) - _ZERO[kind]
    values: NDArray[np.float32] = centred * read(".scales")[:, :, None]
    return values.reshape(len(values), -1)[:, :d]
