"""Changes of biases and norms as inputs of a graph, added to what the base has.

A bias's change is added to what its layer's product gives, before the bias, so that fused bias
nodes stay as they are. A norm's is added to its weight and bias, of which onnxruntime takes a set
for each row of a batch. Defaults are zeros: a session that feeds none gives the base's own answer,
bit for bit.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from osd_edge.errors import Code, ModelError
from osd_edge.exporters.graph.branches import FACTORS, LayerUse
from osd_edge.exporters.graph.external_data import INLINE_BYTES, append_weight
from osd_edge.exporters.graph.folding import drop_unused
from osd_edge.exporters.graph.graph_parts import GraphParts
from osd_edge.exporters.graph.norms import NORMS, Norms
from osd_edge.exporters.graph.plain_graph import PlainGraph
from osd_edge.exporters.graph.skip_norms import split_skip_norms
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.vectors import BaseVector, base_vectors
from osd_edge.formats.package.vectors import Vector, VectorInput, vector_inputs

_ZEROS = "vectors/zeros"


def prepare_norms(model: onnx.ModelProto) -> None:
    """Takes fused norms apart, in place, as they have to be where they are to change.

    The graph with inputs then computes what the plain one does, and onnxruntime, which fuses an Add
    with the norm behind it when a session opens, does so with neither.
    """
    split_skip_norms(model, simplified=True)
    made = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        before = made.get(node.input[0]) if node.op_type in NORMS else None
        if before is not None and before.op_type == "Add":
            before.op_type = "Sum"


def insert_vectors(
    plain: PlainGraph, backbone: Backbone, file: Path, factors: str = "fp32"
) -> tuple[Vector, ...]:
    """Adds inputs for changes of all vectors to `plain`, in place; gives the base's list of them.

    `prepare_norms` comes before, and branches after it. Weights of the graph are in `file`, and
    changes are fed as `factors`, fp32 or fp16. Raises ModelError `model.graph` where a vector is
    not found in the graph, or is another than the checkpoint's.
    """
    vectors = base_vectors(backbone)
    named = _named(vectors, plain)
    writer = _Writer(plain.model.graph, file, FACTORS[factors])
    inputs = {each.name: each for each in vector_inputs(named)}
    writer.declare(tuple(inputs.values()))
    biases = {
        vector.module: inputs[own.input]
        for vector, own in zip(vectors, named, strict=True)
        if not vector.of_norm
    }
    writer.add(_uses(plain, biases), Norms(backbone, [v for v in vectors if v.of_norm]))
    drop_unused(plain.model.graph)
    return named


def _named(vectors: Sequence[BaseVector], plain: PlainGraph) -> tuple[Vector, ...]:
    """The list with the input of each: one for a norm, one for the layers of a product."""
    products = {layer.name: product.name for product in plain.products for layer in product.layers}
    return tuple(
        Vector(v.name, v.n, f"{v.module}.g" if v.of_norm else f"{products[v.module]}.b")
        for v in vectors
    )


def _uses(
    plain: PlainGraph, biases: Mapping[str, VectorInput]
) -> dict[str, tuple[LayerUse, VectorInput]]:
    """The uses of layers with a bias, and the input of its change, by what the layer gives."""
    found = {}
    for product in plain.products:
        own = [biases[layer.name] for layer in product.layers if layer.name in biases]
        if own and len(own) < len(product.layers):
            raise ModelError(
                Code.MODEL_GRAPH,
                f"{product.name} packs layers with and without a bias: export the base without "
                "--vectors",
            )
        for use in plain.uses[product.name] if own else ():
            found[use.result] = use, own[0]
    return found


class _Writer:
    """Writes into a graph whose weights are in `file`; changes are fed as `kind`."""

    def __init__(self, graph: onnx.GraphProto, file: Path, kind: int) -> None:
        self._graph, self._file, self._kind = graph, file, kind
        self._parts = GraphParts(file.parent, file.name, [], {})

    def declare(self, inputs: Sequence[VectorInput]) -> None:
        """Adds the inputs, with zeros as defaults: large ones share those of the longest."""
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(self._kind))
        most = max((each.n for each in inputs), default=0)
        shared = None
        if most * dtype.itemsize >= INLINE_BYTES:
            folder, location = self._file.parent, self._file.name
            shared = append_weight(_ZEROS, np.zeros(most, dtype), folder, location)
        for each in inputs:
            shape: list[str | int] = [f"{each.name}.t", 1, each.n]
            info = helper.make_tensor_value_info(each.name, self._kind, shape)
            self._graph.input.append(info)
            size = each.n * dtype.itemsize
            if shared is None or size < INLINE_BYTES:
                zeros = numpy_helper.from_array(np.zeros((1, 1, each.n), dtype), each.name)
            else:
                zeros = onnx.TensorProto()
                zeros.CopyFrom(shared)
                zeros.name, zeros.dims[:] = each.name, (1, 1, each.n)
                next(x for x in zeros.external_data if x.key == "length").value = str(size)
            self._graph.initializer.append(zeros)

    def add(self, uses: Mapping[str, tuple[LayerUse, VectorInput]], norms: Norms) -> None:
        """Adds biases' changes to products, and those of norms to their weights and biases.

        Raises ModelError `model.graph` where a norm is not in the graph, or not the base's.
        """
        held = {tensor.name: tensor for tensor in self._graph.initializer}
        for node in self._graph.node:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                held[node.output[0]] = node.attribute[0].t
        left = norms.names
        for node in self._graph.node:
            norm, used = norms.of(node), uses.get(node.output[0])
            if norm is not None:
                names = [name for name in node.input[1:] if name]
                values = [numpy_helper.to_array(held[x], str(self._file.parent)) for x in names]
                own = norms.proved(norm, values)
                self._norm(node, norm, own, flat=norms.is_flat(norm))
                left = left - {norm}
                continue
            self._parts.nodes.append(node)
            if used is not None:
                node.output[0] = f"{used[0].name}/unchanged"
                self._bias(*used)
        if left:
            raise ModelError(
                Code.MODEL_GRAPH,
                f"the exported graph has no norm that is {min(left)}: export the base without "
                "--vectors",
            )
        nodes = [*self._parts.nodes]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(self._parts.initializers.values())

    def _bias(self, use: LayerUse, change: VectorInput) -> None:
        name, x = use.name, f"{use.name}/unchanged"
        wide = self._wide(change.name, name)
        if not use.gemm:
            add = helper.make_node("Add", [x, wide], [use.result], f"{name}/changed")
            self._parts.nodes.append(add)
            return
        rows = self._by_task(x, change.n, wide, name)
        self._back(self._parts.node("Add", [rows, wide], f"{name}/changed"), x, use.result, name)

    def _norm(
        self, node: onnx.NodeProto, norm: str, values: Sequence[NDArray[np.float32]], *, flat: bool
    ) -> None:
        parts, x, result = self._parts, node.input[0], node.output[0]
        wide = self._wide(f"{norm}.g", result)
        own = parts.constant(f"{norm}.g/own", np.concatenate(values).reshape(1, 1, -1))
        both = parts.node("Add", [own, wide], f"{result}/vectors")
        vectors = [both]
        if len(values) == 2:
            sizes = parts.constant(f"{norm}.g/sizes", np.array([len(x) for x in values]))
            vectors = [f"{result}/weight", f"{result}/bias"]
            split = helper.make_node("Split", [both, sizes], vectors, f"{result}/split", axis=-1)
            parts.nodes.append(split)
        node.input[:] = [self._by_task(x, len(values[0]), wide, result) if flat else x, *vectors]
        if flat:
            node.output[0] = f"{result}/rows"
        parts.nodes.append(node)
        if flat:
            self._back(node.output[0], x, result, result)

    def _wide(self, change: str, name: str) -> str:
        """The change in fp32."""
        if self._kind == TensorProto.FLOAT:
            return change
        return self._parts.node("Cast", [change], f"{name}/{change}32", to=TensorProto.FLOAT)

    def _by_task(self, x: str, n: int, change: str, name: str) -> str:
        """Rows in whatever shape, shared out among the t tasks of a change: `[t, rows, n]`."""
        parts = self._parts
        tasks = parts.node("Shape", [change], f"{name}/tasks", start=0, end=1)
        rest = parts.constant(f"rows-of-{n}", np.array([-1, n]))
        shape = parts.node("Concat", [tasks, rest], f"{name}/by-task-shape", axis=0)
        return parts.node("Reshape", [x, shape], f"{name}/by-task")

    def _back(self, rows: str, like: str, result: str, name: str) -> None:
        """Rows in the shape of the tensor `like`, as `result`."""
        shape = self._parts.node("Shape", [like], f"{name}/like")
        back = helper.make_node("Reshape", [rows, shape], [result], f"{name}/back")
        self._parts.nodes.append(back)
