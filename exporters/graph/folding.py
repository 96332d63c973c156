"""Nodes of a graph that compute from constants alone, computed once.

Fusion looks for patterns in which shapes and masks' constants are values, not little graphs.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

_MOST_ELEMENTS = 65536  # of a result: larger ones are better computed than stored
_ARITHMETIC = frozenset(("Add", "Cast", "CastLike", "Div", "Mul", "Not", "Sqrt", "Sub"))
_SHAPING = frozenset(
    ("Concat", "ConstantOfShape", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
)


def fold_constants(model: onnx.ModelProto) -> None:
    """Replace nodes of which all inputs are small constants by their results, in place."""
    graph = model.graph
    known: dict[str, NDArray[Any]] = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL and _size(tensor) <= _MOST_ELEMENTS
    }
    outputs = {output.name for output in graph.output}
    kept, made = [], []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Constant":  # written as a number or a list of them
            known[node.output[0]] = np.asarray(
                onnx.helper.get_attribute_value(node.attribute[0]),
                np.float32 if node.attribute[0].name.startswith("value_float") else np.int64,
            )
            made.append(node.output[0])
            continue
        elif (
            node.op_type in _ARITHMETIC | _SHAPING
            and inputs
            and all(name in known for name in inputs)
            and node.output[0] not in outputs
        ):
            result = _computed(model, node, {name: known[name] for name in inputs})
            if result.size <= _MOST_ELEMENTS:
                known[node.output[0]] = result
                made.append(node.output[0])
                continue
        kept.append(node)
    used = names_read(kept)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(known[name]), name)
        for name in made
        if name in used
    )


def names_read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """All that `nodes` read, and the graphs within them, which see the names around them."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                names |= names_read(attribute.g.node)
                names.update(output.name for output in attribute.g.output)
    return names


def drop_unused(graph: onnx.GraphProto) -> None:
    """Leave out constants and initializers that no node reads."""
    used = names_read(graph.node) | {output.name for output in graph.output}
    for i in reversed(range(len(graph.node))):
        if graph.node[i].op_type == "Constant" and graph.node[i].output[0] not in used:
            del graph.node[i]
    for i in reversed(range(len(graph.initializer))):  # moved, not copied: they may be large
        if graph.initializer[i].name not in used:
            del graph.initializer[i]


def _computed(
    model: onnx.ModelProto, node: onnx.NodeProto, feeds: dict[str, NDArray[Any]]
) -> NDArray[Any]:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    results: Any = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)
    return np.asarray(results[0])


def _size(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))
