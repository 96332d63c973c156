"""Traces by torch's older exporter, which runs the model once in TorchScript."""

from pathlib import Path
from typing import Any

import onnx
import torch

from osd_edge.exporters.graph.tracers.example import (
    TORCHSCRIPT_OPSET,
    example_inputs,
    input_axes,
    output_axes,
    take_tensors,
)
from osd_edge.exporters.graph.tracers.masks import traceable_masks
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.package.generation import Generation


def trace(
    model: Any, backbone: Backbone, folder: Path, generation: Generation | None = None
) -> onnx.ModelProto:
    """The graph of the weightless `model` of `backbone`; `folder` is for files on the way."""
    take_tensors(model, backbone, generation)
    inputs, outputs = input_axes(backbone, generation), output_axes(backbone, generation)
    path = folder / "traced.onnx"
    with traceable_masks():
        torch.onnx.export(
            model,
            tuple(example_inputs(backbone, generation).values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=inputs | outputs,
            do_constant_folding=False,  # it would compute with weights that are not there
            keep_initializers_as_inputs=True,  # else equal parameters become one
            export_params=False,
            opset_version=TORCHSCRIPT_OPSET,
            dynamo=False,
        )
    return onnx.load_model(path)
