"""Low-rank delta branches in an ONNX graph: y = W x + b becomes y = W x + U (Vᵀ x) + b.

The branch reads the same input as the layer's MatMul and is added between it and the bias,
so that fused bias nodes stay as they are. Factors are graph inputs with empty defaults (k = 0):
a session that feeds none gives the base's own answer, bit for bit.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.graph.unproved import unproved
from osd_edge.exporters.models.backbone import Backbone, LinearLayer
from osd_edge.formats.package.sites import Site

FACTORS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}


@dataclass(frozen=True)
class LayerUse:
    """One use of a layer in a graph: at `node`, from the tensor `x` to the tensor `result`.

    A Gemm sees rows `[r, d]` and adds the bias itself; a MatMul sees `[batch, tokens, d]`. `name`
    is that of nodes which are made for it: the layer's path, with a number from the second use on.
    """

    name: str
    node: str
    x: str
    result: str
    gemm: bool


def find_layers(
    model: onnx.ModelProto, folder: Path, backbone: Backbone, progress: Progress = silent
) -> dict[str, tuple[LayerUse, ...]]:
    """Finds the uses of each linear layer in the graph, by the layer's module path.

    A layer may be used more than once (ALBERT shares its layers). `folder` holds the file with
    the graph's weights. A node is found by its scope and then proved: its weights equal the
    checkpoint's, by value. Raises ModelError `model.graph` where a layer cannot be found or
    proved, or where a product with weights belongs to no layer; none is skipped.
    """
    names = {layer.name for layer in backbone.layers}
    nodes: dict[str, list[onnx.NodeProto]] = {name: [] for name in names}
    weights = {init.name: init for init in model.graph.initializer}
    for node in model.graph.node:
        # Exporters merge equal tensors and name the copies by Identity nodes.
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights:
            name = _layer_name(node.name, names)
            if name is None:
                raise unproved(f"node {node.name} belongs to no linear layer")
            nodes[name].append(node)
    for layer in progress(backbone.layers, "Proving layers"):
        if not nodes[layer.name]:
            raise unproved(f"the exported graph has no node for {layer.name}")
        expected = backbone.checkpoint.float32(f"{layer.name}.weight").numpy()
        proved = set()
        for node in nodes[layer.name]:
            held = node.input[1], _transposed(node)
            if held in proved:
                continue
            value = numpy_helper.to_array(weights[held[0]], str(folder))
            if not np.array_equal(value.T if held[1] else value, expected.T):
                raise unproved(f"node {node.name} does not hold the weights of {layer.name}")
            proved.add(held)
    return {name: tuple(_uses_of(name, found)) for name, found in nodes.items()}


def insert_branches(
    model: onnx.ModelProto,
    layers: Sequence[LinearLayer],
    uses: Mapping[str, Sequence[LayerUse]],
    chosen: Collection[str],
    factors: str = "fp32",
) -> tuple[Site, ...]:
    """Put branches into `model`, in place, for each layer in `chosen`; return the site table.

    A layer that is used several times has a branch at each use, all of them with its factors.
    `factors` is the type in which factors are fed, `fp32` or `fp16`; products are fp32 either
    way. The tensors of `uses` must still be there, whatever computes them by now.
    """
    graph = model.graph
    sites = {}
    by_result: dict[str, tuple[LayerUse, Site]] = {}
    for layer in layers:
        if layer.name in chosen:
            site = Site(layer.name, layer.n, layer.d, f"{layer.name}.u", f"{layer.name}.v")
            by_result |= {use.result: (use, site) for use in uses[layer.name]}
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
            graph.node[-1].output[0] = f"{branched[0].name}/base"
            graph.node.extend(_branch(graph, *branched, FACTORS[factors]))
    return tuple(sites.values())


def _branch(graph: onnx.GraphProto, use: LayerUse, site: Site, kind: int) -> list[onnx.NodeProto]:
    """The nodes beside the layer, whose sum takes over the name of the layer's result."""
    assert site.u is not None and site.v is not None
    x, u, v, name = use.x, site.u, site.v, use.name
    low, delta = f"{name}/low", f"{name}/delta"
    before, after = [], []
    if use.gemm:
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
        helper.make_node("Add", [f"{name}/base", f"{name}/delta"], [use.result], f"{name}/sum"),
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


def _uses_of(layer: str, nodes: Sequence[onnx.NodeProto]) -> Iterator[LayerUse]:
    for i, node in enumerate(nodes):
        use = f"{layer}/{i}" if i else layer
        yield LayerUse(use, node.name, node.input[0], node.output[0], node.op_type == "Gemm")


def _int64(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _transposed(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _layer_name(node_name: str, names: Collection[str]) -> str | None:
    """The layer whose scope the node is in; a scope that is entered again gets a number."""
    path = node_name.strip("/").rpartition("/")[0].replace("/", ".")
    return next((p for p in (path, re.sub(r"_\d+$", "", path)) if p in names), None)
