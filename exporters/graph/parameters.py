"""The values of a traced graph's parameters, filled in from the checkpoint.

A tracer that holds a model's weights, and then the file's, takes twice the model. Here the traced
model is weightless: parameters are inputs of the graph by their names, and each is read from the
checkpoint when it is written to the data file.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from osd_edge.exporters.graph.external_data import append_weight
from osd_edge.exporters.graph.folding import drop_unused, fold_constants, names_read
from osd_edge.exporters.graph.unproved import unproved
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.families import Family
from osd_edge.exporters.models.module_names import checkpoint_name

_TURNED = "/transposed"  # a weight [n, d] as a MatMul takes it, [d, n]


def name_as_stored(graph: onnx.GraphProto, family: Family, inputs: Collection[str]) -> None:
    """Call the parameters and modules of a traced `graph` as checkpoints do, in place.

    `inputs` are the graph's own, which are no parameters.
    """
    if not family.modules:
        return
    parameters = {entry.name for entry in graph.input} - set(inputs)
    for entry in graph.input:
        if entry.name in parameters:
            entry.name = checkpoint_name(family, entry.name)
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in parameters:
                node.input[i] = checkpoint_name(family, name)
        scope, _, own = node.name.removeprefix("/").rpartition("/")
        stored = checkpoint_name(family, scope.replace("/", "."))
        node.name = "/".join(["", *stored.split("."), own]) if scope else node.name


def fill(
    model: onnx.ModelProto,
    backbone: Backbone,
    buffers: Mapping[str, torch.Tensor],
    inputs: Collection[str],
    file: Path,
    apart: Collection[str] = (),
) -> None:
    """Give the parameters of a traced `model` their values, in place.

    Weights that a product takes go to `file`; the rest into the graph. `buffers` are tensors of the
    torch model that are no parameters, `inputs` what stays an input of the graph. Parameters
    `apart` are left out of it, for the caller to add as it likes. Raises ModelError `model.graph`
    where the graph has an input of another name.
    """
    graph = model.graph
    free = [entry.name for entry in graph.input if entry.name not in inputs]
    for i in reversed(range(len(graph.input))):
        if graph.input[i].name not in inputs:
            del graph.input[i]
    turned = _without_transposes(graph, set(free))
    products = {n.input[1] for n in graph.node if n.op_type in ("MatMul", "Gemm")}
    read = names_read(graph.node)
    for name in free:
        for used in (name, turned.get(name)):
            if used is None or used not in read or name in apart:
                continue
            array = _value(backbone, buffers, name)
            if used != name:
                array = np.ascontiguousarray(array.T)
            if used in products:
                graph.initializer.append(append_weight(used, array, file.parent, file.name))
            else:
                graph.initializer.append(numpy_helper.from_array(array, used))
    fold_constants(model)
    drop_unused(graph)


def _value(backbone: Backbone, buffers: Mapping[str, torch.Tensor], name: str) -> NDArray[Any]:
    if name in backbone.parameters:
        value: NDArray[Any] = backbone.checkpoint.float32(name).numpy()
        return value
    if name not in buffers:
        raise unproved(f"the exported graph takes {name}, which is no parameter")
    return buffers[name].numpy()


def _without_transposes(graph: onnx.GraphProto, free: set[str]) -> dict[str, str]:
    """Take out nodes that transpose a parameter; the names of transposed ones, by parameter."""
    turned: dict[str, str] = {}
    renamed = {}
    for i in reversed(range(len(graph.node))):
        node = graph.node[i]
        if node.op_type == "Transpose" and node.input[0] in free and _swaps(node):
            turned[node.input[0]] = f"{node.input[0]}{_TURNED}"
            renamed[node.output[0]] = turned[node.input[0]]
            del graph.node[i]
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in renamed:
                node.input[i] = renamed[name]
    return turned


def _swaps(node: onnx.NodeProto) -> bool:
    return any(a.name == "perm" and list(a.ints) == [1, 0] for a in node.attribute)
