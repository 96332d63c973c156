"""The backbone as a plain ONNX graph: optimum's exporter, then onnxruntime's fusion.

Fusion runs here, before any branch is put in: afterwards it would no longer find its patterns.
"""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import optimum.exporters.onnx.model_configs  # noqa: F401  (registers the configurations)
import torch
from optimum.exporters.tasks import TasksManager

from osd_edge.exporters.graph.external_data import move_weights
from osd_edge.exporters.graph.tracing import fill, trace
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.weightless import weightless_backbone

OPSET = 17
HIDDEN_OUTPUT = "last_hidden_state"
POOLER_OUTPUT = "pooler_output"


def export_graph(
    backbone: Backbone,
    folder: Path,
    weights: str,
    *,
    fuse: bool = True,
    fuse_embeddings: bool = True,
) -> onnx.ModelProto:
    """The backbone as optimum exports it, fused where possible; its weights go to a file.

    Weights are in `folder / weights`, the graph refers to them there. Inputs are the token
    tensors `[batch, sequence]` (int64); outputs `last_hidden_state` `[batch, sequence, hidden]`
    and, with a pooler, `pooler_output` `[batch, hidden]`. Fused embeddings take fp32 tables, so
    `fuse_embeddings` leaves them apart where the tables are to be stored otherwise. Of the layers'
    weights no more than one is in memory; embeddings all are.
    """
    with _quiet(), tempfile.TemporaryDirectory(dir=folder) as scratch:
        model = weightless_backbone(backbone)
        config = _onnx_config(model, backbone.has_pooler)
        graph = trace(model, config, Path(scratch) / "export.onnx", OPSET)
        # Layers' weights go to the file at once: fusion would copy them several times.
        fill(graph, backbone, dict(model.named_buffers()), folder, weights)
        del model
        if fuse and backbone.family.fusion is not None:
            graph = _fused(graph, folder, backbone, fuse_embeddings)
    return move_weights(graph, folder, weights)


def _onnx_config(model: Any, has_pooler: bool) -> Any:
    """Optimum's configuration for the model, with the pooler's output where there is one."""
    constructor = TasksManager.get_exporter_config_constructor(
        "onnx", model=model, task="feature-extraction", library_name="transformers"
    )
    standard = type(constructor(model.config))

    class Config(standard):  # type: ignore[misc,valid-type]
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            # Decoders derive positions from the mask themselves.
            return {k: v for k, v in super().inputs.items() if k != "position_ids"}

        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            pooler = {POOLER_OUTPUT: {0: "batch_size"}} if has_pooler else {}
            return dict(super().outputs) | pooler

    return Config(model.config, task="feature-extraction")


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
    with contextlib.chdir(folder):  # where the optimizer looks for external weights
        fused = optimize_by_fusion(
            graph,
            backbone.family.fusion,
            config.num_attention_heads,
            config.hidden_size,
            options,
        )
    return fused.model  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tracing's remarks about Python values from the user; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("optimum", "transformers", "onnxruntime")]
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
