"""Low-rank delta branches in an ONNX graph: y = W x + b becomes y = W x + U (Vᵀ x) + b.

The branch reads the same input as the layer's MatMul and is added between it and the bias,
so that fused bias nodes stay as they are. Factors are graph inputs with empty defaults (k = 0):
a session that feeds none gives the base's own answer, bit for bit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from osd_edge.base_manifest import Site
from osd_edge.errors import ModelError
from osd_edge.exporters.backbone import Backbone, LinearLayer
from osd_edge.progress import Progress, silent

FACTORS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}


@dataclass(frozen=True)
class Place:
    """Where a graph computes a layer: at `node`, from the tensor `x` to the tensor `result`.

    A Gemm sees rows `[r, d]` and adds the bias itself; a MatMul sees `[batch, tokens, d]`.
    """

    node: str
    x: str
    result: str
    gemm: bool


def find_layers(
    model: onnx.ModelProto, folder: Path, backbone: Backbone, progress: Progress = silent
) -> dict[str, Place]:
    """Where the graph computes each linear layer, by the layer's module path.

    `folder` holds the file with the graph's weights. A node is found by its scope and then proved:
    its weights equal the checkpoint's, by value.
    Raises ModelError `model.graph` where a layer cannot be found or proved; none is skipped.
    """
    nodes = {_path(node.name): node for node in model.graph.node}
    weights = {init.name: init for init in model.graph.initializer}
    for node in model.graph.node:
        # Exporters merge equal tensors and name the copies by Identity nodes.
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    found = {}
    for layer in progress(backbone.layers, "Proving layers"):
        node = nodes.get(f"{layer.name}.MatMul", nodes.get(f"{layer.name}.Gemm"))
        if node is None or node.input[1] not in weights:
            raise ModelError("model.graph", f"the exported graph has no node for {layer.name}")
        expected = backbone.checkpoint.float32(f"{layer.name}.weight").numpy()
        value = numpy_helper.to_array(weights[node.input[1]], str(folder))
        if not np.array_equal(value.T if _transposed(node) else value, expected.T):
            raise ModelError(
                "model.graph", f"node {node.name} does not hold the weights of {layer.name}"
            )
        place = Place(node.name, node.input[0], node.output[0], node.op_type == "Gemm")
        found[layer.name] = place
    return found


def insert_branches(
    model: onnx.ModelProto,
    layers: Sequence[LinearLayer],
    places: Mapping[str, Place],
    chosen: Collection[str],
    factors: str = "fp32",
) -> tuple[Site, ...]:
    """Put a branch into `model`, in place, for each layer in `chosen`; return the site table.

    `factors` is the type in which factors are fed, `fp32` or `fp16`; products are fp32 either
    way. The tensors of `places` must still be there, whatever computes them by now.
    """
    graph = model.graph
    sites = {}
    by_result = {}
    for layer in layers:
        if layer.name in chosen:
            site = Site(layer.name, layer.n, layer.d, f"{layer.name}.u", f"{layer.name}.v")
            by_result[places[layer.name].result] = site
            _add_factor_inputs(graph, site, FACTORS[factors])
        else:
            site = Site(layer.name, layer.n, layer.d)
        sites[layer.name] = site
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        branched = by_result.get(node.output[0])
        if branched is not None:
            graph.node[-1].output[0] = f"{branched.name}/base"
            place = places[branched.name]
            graph.node.extend(_branch(graph, place, branched, FACTORS[factors]))
    return tuple(sites.values())


def _branch(graph: onnx.GraphProto, place: Place, site: Site, kind: int) -> list[onnx.NodeProto]:
    """The nodes beside the layer, whose sum takes over the name of the layer's result."""
    assert site.u is not None and site.v is not None
    x, u, v, name = place.x, site.u, site.v, site.name
    low, delta = f"{name}/low", f"{name}/delta"
    before, after = [], []
    if place.gemm:
        # Rows [r, d] (the pooler; OPT's feed-forward layers) are split among the tasks,
        # [t, r/t, d]: one task takes all, or each row of the batch takes its own.
        rows, shape, stacked = f"{name}/rows", f"{name}/shape", f"{name}/stacked"
        split, flat = f"{name}/split", f"{name}/flat"
        graph.initializer.append(_int64(split, [-1, site.d]))
        graph.initializer.append(_int64(flat, [-1, site.n]))
        before = [
            helper.make_node("Shape", [site.v], [rows], rows, start=0, end=1),
            helper.make_node("Concat", [rows, split], [shape], shape, axis=0),
            helper.make_node("Reshape", [x, shape], [stacked], stacked),
        ]
        x, delta = stacked, f"{name}/product"
        after = [helper.make_node("Reshape", [delta, flat], [f"{name}/delta"], f"{name}/delta")]
    if kind != TensorProto.FLOAT:
        wide = {u: f"{name}/u32", v: f"{name}/v32"}
        before += [
            helper.make_node("Cast", [factor], [cast], cast, to=TensorProto.FLOAT)
            for factor, cast in wide.items()
        ]
        u, v = wide[u], wide[v]
    return [
        *before,
        helper.make_node("MatMul", [x, v], [low], low),
        helper.make_node("MatMul", [low, u], [delta], delta),
        *after,
        helper.make_node("Add", [f"{name}/base", f"{name}/delta"], [place.result], f"{name}/sum"),
    ]


def _add_factor_inputs(graph: onnx.GraphProto, site: Site, kind: int) -> None:
    # The two dimensions that change are named for the site, since ranks differ between sites.
    tasks, rank = f"{site.name}.t", f"{site.name}.k"
    factors: tuple[tuple[str | None, list[int | str | None], list[int]], ...] = (
        (site.v, [tasks, site.d, rank], [1, site.d, 0]),
        (site.u, [tasks, rank, site.n], [1, 0, site.n]),
    )
    for name, symbolic, empty in factors:
        assert name is not None
        graph.input.append(helper.make_tensor_value_info(name, kind, symbolic))
        graph.initializer.append(helper.make_tensor(name, kind, empty, b"", raw=True))


def _int64(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _transposed(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _path(node_name: str) -> str:
    return node_name.strip("/").replace("/", ".")
