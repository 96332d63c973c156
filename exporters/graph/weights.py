"""Storing a graph's weights in fewer bits: layers and embeddings, after they were proved.

Tensors keep their names, so that branches find a layer as before: they read the same
fp32 x, and are added to what the layer gives. onnxruntime's own quantisers write whole models,
rename layers with a bias and leave embeddings as they are; the operators here are theirs.

* `fp16`: Cast of fp16. onnxruntime undoes it at opening: a small file, fp32 in memory.
* `int8`: dynamic. DynamicQuantizeLinear of x (once for all layers that read it), MatMulInteger.
* `int4`: weights alone. MatMulNBits, which takes x as it is.
* embeddings: Gather of fp16, or of int8 rows and their scales.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.graph.branches import LayerUse
from osd_edge.exporters.graph.external_data import load_weights, move_weights
from osd_edge.exporters.graph.folding import drop_unused
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.rounding import (
    BLOCK,
    SMALL_TABLE,
    Rounded,
    fp16_values,
    int4_blocks,
    int8_rows,
)

_CONTRIB = "com.microsoft"
_INT8_ACTIVATIONS = 4  # MatMulNBits: products in int8, by blocks of x; 0 would be fp32


def store_weights(
    model: onnx.ModelProto,
    file: Path,
    checkpoint: Checkpoint,
    uses: Mapping[str, Sequence[LayerUse]],
    kind: str,
    progress: Progress = silent,
) -> onnx.ModelProto:
    """`model` with its weights of `kind`, in a new `file` in the place of the one that holds them.

    `uses` are the proved layers, whose weights are taken from `checkpoint`; those of a layer that
    is used several times are stored once. `model` itself must not be used any more. Raises
    ModelError `model.range` where a weight is too large for `fp16`.
    """
    if kind == "fp32":
        return model
    folder = file.parent
    writer = _Writer(model.graph, folder, kind)
    by_node = {use.node: (name, use.name) for name, found in uses.items() for use in found}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in progress(nodes, f"Weights to {kind}"):
        found = by_node.get(node.name)
        if found is not None:
            weight = checkpoint.float32(f"{found[0]}.weight").numpy()
            model.graph.node.extend(writer.layer(node, *found, weight))
        elif node.op_type == "Gather":
            model.graph.node.extend(writer.gather(node))
        else:
            model.graph.node.append(node)
    drop_unused(model.graph)
    load_weights(model, folder)
    file.unlink()
    if not any(opset.domain == _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    return move_weights(model, folder, file.name)


class _Writer:
    """Writes the nodes that take the place of one, and their initializers."""

    def __init__(self, graph: onnx.GraphProto, folder: Path, kind: str) -> None:
        self._graph, self._folder, self._kind = graph, folder, kind
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._stored: set[str] = set()
        self._rounded_inputs: dict[str, tuple[str, str, str]] = {}
        self._tables: dict[str, list[str]] = {}

    def layer(
        self, node: onnx.NodeProto, name: str, use: str, weight: NDArray[Any]
    ) -> list[onnx.NodeProto]:
        """The layer `name` of weights `[n, d]`, which `node` (MatMul or Gemm) computes.

        Nodes are named for `use`, of which a layer may have several.
        """
        x, result = node.input[0], node.output[0]
        if self._kind == "fp16":
            for attribute in node.attribute:
                if attribute.name == "transB":  # stored as a MatMul takes it, for every use
                    attribute.i = 0
            stored = np.ascontiguousarray(fp16_values(f"{name}.weight", weight).T)
            cast = f"{use}/weight"
            node.input[1] = cast
            return [self._cast(self._put(f"{name}.weight.fp16", stored), cast), node]
        bias = node.input[2] if len(node.input) == 3 and node.input[2] else None
        product = result if bias is None else f"{use}/product-of-codes"
        if self._kind == "int8":
            nodes = self._int8(name, use, x, product, int8_rows(weight))
        else:
            nodes = [self._int4(name, use, x, product, int4_blocks(weight))]
        if bias is not None:
            nodes.append(helper.make_node("Add", [product, bias], [result], f"{use}/bias"))
        return nodes

    def gather(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Rows of a table of embeddings; any other Gather as it is."""
        table = self._initializers.get(node.input[0])
        if (
            table is None
            or table.data_type != TensorProto.FLOAT
            or len(table.dims) != 2
            or np.prod(table.dims) < SMALL_TABLE
            or any(a.name == "axis" and a.i for a in node.attribute)
        ):
            return [node]
        name, ids, result = table.name, node.input[1], node.output[0]
        rows = f"{result}/codes"
        if self._kind == "fp16":
            (stored,) = self._table(name, lambda w: {f"{name}.fp16": fp16_values(name, w)})
            take = helper.make_node("Gather", [stored, ids], [rows], f"{node.name}/codes")
            return [take, self._cast(rows, result)]

        def int8_table(weight: NDArray[Any]) -> dict[str, NDArray[Any]]:
            rounded = int8_rows(weight)
            return {f"{name}.int8": rounded.codes[:, 0], f"{name}.scales": rounded.scales}

        codes, scales = self._table(name, int8_table)
        wide, scale = f"{result}/wide", f"{result}/scale"
        return [
            helper.make_node("Gather", [codes, ids], [rows], f"{node.name}/codes"),
            helper.make_node("Gather", [scales, ids], [scale], f"{node.name}/scale"),
            self._cast(rows, wide),
            helper.make_node("Mul", [wide, scale], [result], f"{node.name}/scaled"),
        ]

    def _int8(
        self, name: str, use: str, x: str, result: str, rounded: Rounded
    ) -> list[onnx.NodeProto]:
        nodes = []
        if x not in self._rounded_inputs:
            parts = f"{x}/rounded-codes", f"{x}/rounded-scale", f"{x}/rounded-zero"
            self._rounded_inputs[x] = parts
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], parts, f"{x}/rounded"))
        codes, scale, zero = self._rounded_inputs[x]
        weight = self._put(f"{name}.weight.int8", np.ascontiguousarray(rounded.codes[:, 0].T))
        zeros = self._put(f"{name}.weight.zero", np.zeros(len(rounded.codes), np.int8))
        scales = self._put(f"{name}.weight.scales", rounded.scales[:, 0])
        whole, wide, both = f"{use}/integers", f"{use}/wide", f"{use}/scales"
        return [
            *nodes,
            helper.make_node("MatMulInteger", [codes, weight, zero, zeros], [whole], whole),
            self._cast(whole, wide),
            helper.make_node("Mul", [scale, scales], [both], both),
            helper.make_node("Mul", [wide, both], [result], f"{use}/scaled"),
        ]

    def _int4(self, name: str, use: str, x: str, result: str, rounded: Rounded) -> onnx.NodeProto:
        n = len(rounded.codes)
        fields = (rounded.codes + 8).astype(np.uint8)  # 8 is the operator's own zero
        packed = fields[:, :, 0::2] | fields[:, :, 1::2] << 4
        return helper.make_node(
            "MatMulNBits",
            [
                x,
                self._put(f"{name}.weight.int4", packed),
                self._put(f"{name}.weight.scales", rounded.scales.reshape(-1)),
            ],
            [result],
            f"{use}/int4",
            domain=_CONTRIB,
            K=rounded.d,
            N=n,
            bits=4,
            block_size=BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def _table(self, name: str, rounded: Any) -> list[str]:
        """Initializers that hold the table `name`, made once."""
        if name not in self._tables:
            weight = numpy_helper.to_array(self._initializers[name], str(self._folder))
            self._tables[name] = [self._put(key, part) for key, part in rounded(weight).items()]
        return self._tables[name]

    def _put(self, name: str, array: NDArray[Any]) -> str:
        """An initializer `name`, which is stored once however often it is put."""
        if name not in self._stored:
            self._stored.add(name)
            self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _cast(self, source: str, to: str) -> onnx.NodeProto:
        return helper.make_node("Cast", [source], [to], f"{to}/cast", to=TensorProto.FLOAT)
