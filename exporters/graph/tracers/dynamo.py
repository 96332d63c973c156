"""Traces by torch's newer exporter, over torch.export; needs onnxscript."""

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import onnxscript  # noqa: F401  (torch's exporter needs it, and only says so half-way)
import torch
from onnx_ir.passes.common import IdentityEliminationPass

from osd_edge.exporters.graph.tracers.example import (
    ALL_TOKENS,
    BATCH,
    PAST,
    TOKENS,
    example_inputs,
    input_axes,
    output_axes,
    take_tensors,
)
from osd_edge.exporters.graph.tracers.masks import traceable_masks
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.package.generation import Generation

DYNAMO_OPSET = 18  # the lowest that this exporter writes
_FREE = (BATCH, TOKENS, PAST, ALL_TOKENS)
_SCOPES = "pkg.torch.onnx.name_scopes"  # of a node: paths of the modules around it, then its own


def trace(
    model: Any, backbone: Backbone, folder: Path, generation: Generation | None = None
) -> onnx.ModelProto:
    """The graph of the weightless `model` of `backbone`; nothing is written to `folder`."""
    take_tensors(model, backbone, generation)
    inputs, outputs = input_axes(backbone, generation), output_axes(backbone, generation)
    # The other axes of a picture are the model's own, and nothing else is taken for them.
    shapes = tuple(
        {i: torch.export.Dim.AUTO for i, name in axes.items() if name in _FREE}
        for axes in inputs.values()
    )
    with traceable_masks():
        program: Any = torch.onnx.export(
            model,
            tuple(example_inputs(backbone, generation).values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(shapes,),
            opset_version=DYNAMO_OPSET,
            dynamo=True,
            optimize=False,  # it would compute with weights that are not there
            verbose=False,
        )
    own = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return _with_parameters_as_inputs(program.model, own)


def _with_parameters_as_inputs(traced: Any, names: set[str]) -> onnx.ModelProto:
    """The model as a message, in which initializers of `names` are inputs without values."""
    graph = traced.graph
    for name in names & set(graph.initializers):
        value = graph.initializers.pop(name)
        value.const_value = None
        graph.inputs.append(value)
    used: Counter[str] = Counter()
    for node in graph.all_nodes():
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['']"))
        path = scopes[-2] if len(scopes) > 1 else ""
        name = "/".join(("", *path.split("."), node.op_type)) if path else f"/{node.op_type}"
        node.name = f"{name}_{used[name]}" if used[name] else name
        used[name] += 1
        node.metadata_props.clear()
    IdentityEliminationPass()(traced)  # dropout leaves them in the middle of what fusion looks for
    message: onnx.ModelProto = onnx_ir.to_proto(traced)
    return message
