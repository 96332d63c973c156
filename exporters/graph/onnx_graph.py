"""The backbone as a plain ONNX graph: traced, filled with its weights, then fused by onnxruntime.

Fusion runs here, before any branch is put in: afterwards it would no longer find its patterns.
"""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import onnx
import torch
from optimum.utils import NormalizedConfigManager

from osd_edge.exporters.graph.external_data import move_weights
from osd_edge.exporters.graph.parameters import fill, name_as_stored
from osd_edge.exporters.graph.skip_norms import split_skip_norms
from osd_edge.exporters.graph.tracers import Tracer
from osd_edge.exporters.graph.tracers.example import (
    HIDDEN_OUTPUT,
    POOLER_OUTPUT,
    input_axes,
)
from osd_edge.exporters.graph.tracers.masks import leave_causal_to_masks
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.exporters.models.weightless import weightless_backbone
from osd_edge.formats.package.generation import Generation


def export_graph(
    backbone: Backbone,
    trace: Tracer,
    folder: Path,
    weights: str,
    *,
    fuse: bool = True,
    fuse_embeddings: bool = True,
) -> onnx.ModelProto:
    """The backbone as `trace` has it, fused where possible; its weights go to a file.

    Weights are in `folder / weights`, the graph refers to them there. Inputs are the token
    tensors `[batch, sequence]` (int64); outputs `last_hidden_state` `[batch, sequence, hidden]`
    and, with a pooler, `pooler_output` `[batch, hidden]`. Fused embeddings take fp32 tables, so
    `fuse_embeddings` leaves them apart where the tables are to be stored otherwise. Of the layers'
    weights no more than one is in memory; embeddings all are.
    """
    graph = traced_graph(backbone, trace, folder / weights)
    if fuse and backbone.family.fusion is not None:
        with _quiet():
            graph = _fused(graph, folder, backbone, fuse_embeddings)
        split_skip_norms(graph)
    return move_weights(graph, folder, weights)


def traced_graph(
    backbone: Backbone,
    trace: Tracer,
    file: Path,
    generation: Generation | None = None,
    apart: Collection[str] = (),
) -> onnx.ModelProto:
    """The backbone as `trace` has it, before fusion, with the weights of its products in `file`.

    With `generation` it takes and gives keys and values. Embeddings are in the graph itself, but
    for parameters `apart`, which the caller adds.
    """
    inputs = input_axes(backbone, generation)
    with _quiet(), tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        model = weightless_backbone(backbone)
        if generation is not None:
            leave_causal_to_masks(model)
        graph = trace(model, backbone, Path(scratch), generation)
        _declare_shapes(graph.graph, inputs, backbone.hidden_size)
        name_as_stored(graph.graph, backbone.family, inputs)
        # Layers' weights go to the file at once: fusion would copy them several times.
        buffers = {checkpoint_name(backbone.family, n): b for n, b in model.named_buffers()}
        fill(graph, backbone, buffers, inputs, file, apart)
    return graph


def _fused(
    graph: onnx.ModelProto, folder: Path, backbone: Backbone, fuse_embeddings: bool
) -> onnx.ModelProto:
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_by_fusion

    options = FusionOptions(backbone.family.fusion)
    # Packed attention would swallow the query, key and value weights, which are sites.
    options.use_multi_head_attention = True
    # The mask itself; by default it becomes a length, wrong for any but padding on the right.
    options.use_raw_attention_mask(True)
    options.enable_embed_layer_norm = fuse_embeddings
    config = backbone.checkpoint.config
    sizes = NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    with contextlib.chdir(folder):  # where the optimizer looks for external weights
        fused = optimize_by_fusion(
            graph,
            backbone.family.fusion,
            sizes.num_attention_heads,
            sizes.hidden_size,
            options,
        )
    return fused.model  # type: ignore[no-any-return]


def _declare_shapes(
    graph: onnx.GraphProto, axes: Mapping[str, Mapping[int, str]], hidden_size: int
) -> None:
    """Name the inputs' free axes, and the hidden size, in which states end.

    Tracers are not sure of either.
    """
    for entry in graph.input:
        for i, name in axes.get(entry.name, {}).items():
            entry.type.tensor_type.shape.dim[i].dim_param = name
    for output in graph.output:
        kind = output.type.tensor_type
        if output.name in (HIDDEN_OUTPUT, POOLER_OUTPUT) and kind.shape.dim:
            kind.shape.dim[-1].dim_value = hidden_size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tracing's remarks about Python values from the user; errors still come through."""
    loggers = [
        logging.getLogger(name) for name in ("optimum", "transformers", "onnxruntime", "torch")
    ]
    root = logging.getLogger()
    levels = [(logger, logger.level) for logger in (*loggers, root)]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for logger, _ in levels:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels:
                logger.setLevel(level)
