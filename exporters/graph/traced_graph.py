"""The graph of an encoder: traced, fused, each layer proved, its weights stored."""

import enum
from pathlib import Path

from osd_edge.data.progress import Progress
from osd_edge.exporters.graph.branches import find_layers
from osd_edge.exporters.graph.onnx_graph import export_graph
from osd_edge.exporters.graph.plain_graph import PlainGraph, Product
from osd_edge.exporters.graph.tracers import Tracer
from osd_edge.exporters.graph.weights import store_weights
from osd_edge.exporters.models.backbone import Backbone


class Fusion(enum.Enum):
    """The operators of a traced graph that are fused; the embeddings' has a norm within."""

    NOTHING = enum.auto()
    BUT_EMBEDDINGS = enum.auto()
    ALL = enum.auto()


def trace_graph(
    backbone: Backbone,
    trace: Tracer,
    file: Path,
    kind: str,
    *,
    fuse: Fusion,
    progress: Progress,
) -> PlainGraph:
    """Traces the graph of `backbone`, whose weights go to `file`, stored as `kind`.

    Every layer is proved before its weights are rounded. Raises ModelError.
    """
    stages = iter(progress(("export", "prove", "save"), "ONNX graph"))
    next(stages)
    folder = file.parent
    graph = export_graph(
        backbone,
        trace,
        folder,
        file.name,
        fuse=fuse is not Fusion.NOTHING,
        fuse_embeddings=fuse is Fusion.ALL and kind == "fp32",
    )
    next(stages)
    uses = find_layers(graph, folder, backbone, progress)
    graph = store_weights(graph, file, backbone.checkpoint, uses, kind, progress)
    next(stages)
    next(stages, None)
    products = [Product(layer.name, (layer,)) for layer in backbone.layers]
    return PlainGraph(graph, products, uses)
