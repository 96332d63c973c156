"""Proves a written graph: its stored weights are the checkpoint's, value by value.

What is compared is read back from the file, a few rows at a time: no matrix is in memory twice.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import ModelError
from osd_edge.exporters.graph.plain_graph import PlainGraph
from osd_edge.exporters.graph.unproved import unproved
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.rounding import as_stored

_ZERO = {"int4": 8, "int8": 128}
_ROWS = 4096  # of a table, in memory at once
Floats = NDArray[np.float32]


def prove_layers(
    written: PlainGraph, folder: Path, backbone: Backbone, kind: str, progress: Progress = silent
) -> None:
    """Compares what the graph in `folder` multiplies with to the checkpoint's weights as `kind`.

    Of a packed product each layer has its own rows. Raises ModelError `model.graph` where a layer
    differs, or is in no product, or in two.
    """
    tensors = _tensors(written)
    left = {layer.name for layer in backbone.layers}
    for product in progress(written.products, "Proving layers"):
        stored = _StoredMatrix(tensors, f"{product.name}.weight", folder, turned=True)
        start = 0
        for layer in product.layers:
            expected = as_stored(backbone.checkpoint.float32(f"{layer.name}.weight").numpy(), kind)
            found = stored.rows(start, start + layer.n, layer.d)
            if layer.name not in left or not np.array_equal(found, expected):
                raise _differs(product.name, layer.name)
            left.remove(layer.name)
            start += layer.n
    if left:
        raise unproved(f"the graph has no product for {min(left)}")


def prove_table(
    written: PlainGraph, folder: Path, backbone: Backbone, name: str, kind: str
) -> None:
    """Compares a stored table, of embeddings or of logits, to the checkpoint's tensor `name`.

    Raises ModelError `model.graph` where it differs.
    """
    stored = _StoredMatrix(_tensors(written), name, folder, turned=False)
    weight = backbone.checkpoint.float32(name).numpy()
    for start in range(0, len(weight), _ROWS):
        part = weight[start : start + _ROWS]
        expected = as_stored(part, "int8" if kind == "int4" else kind)
        if not np.array_equal(stored.rows(start, start + len(part), part.shape[1]), expected):
            raise _differs(name, name)


def _tensors(written: PlainGraph) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in written.model.graph.initializer}


def _differs(within: str, name: str) -> ModelError:
    return unproved(f"{within} of the graph does not hold the weights of {name}")


class _StoredMatrix:
    """A matrix `[n, d]` as onnxruntime's operators understand what is stored of it."""

    def __init__(
        self, tensors: dict[str, onnx.TensorProto], name: str, folder: Path, *, turned: bool
    ) -> None:
        """Opens what is stored as `name`; `turned` says that floats lie as `[d, n]`."""
        ends = ("", ".fp16", ".int8", ".int4")
        self._end = next(end for end in ends if f"{name}{end}" in tensors)
        self._turned = turned
        self._codes = _mapped(tensors[f"{name}{self._end}"], folder)
        self._scales = _mapped(tensors[f"{name}.scales"], folder) if self._rounded else None

    @property
    def _rounded(self) -> bool:
        return self._end in (".int8", ".int4")

    def rows(self, start: int, stop: int, d: int) -> Floats:
        """The values of rows `start` to `stop`, of width `d`."""
        if not self._rounded:
            whole = self._codes.T if self._turned else self._codes
            return np.asarray(whole[start:stop], np.float32)
        codes: Any = self._codes[start:stop]
        if self._end == ".int4":
            codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1)
        centred = codes.astype(np.float32) - _ZERO[self._end[1:]]
        assert self._scales is not None
        values: Floats = centred * self._scales[start:stop, :, None]
        return values.reshape(len(values), -1)[:, :d]


def _mapped(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    """A tensor's values: those of a file are mapped, and read as far as they are looked at."""
    if not tensor.external_data:
        return numpy_helper.to_array(tensor)
    where = ExternalDataInfo(tensor)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    return np.memmap(folder / where.location, dtype, "r", int(where.offset or 0), shape)
