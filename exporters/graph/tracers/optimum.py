"""Traces by optimum-onnx, with its own inputs and patches, for models that it alone can trace."""

from itertools import chain
from pathlib import Path
from typing import Any

import onnx
import optimum.exporters.onnx.model_configs  # noqa: F401  (registers the configurations)
import torch
from optimum.exporters.tasks import TasksManager

from osd_edge.errors import Code, InputError
from osd_edge.exporters.graph.tracers.example import TORCHSCRIPT_OPSET, output_axes
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.formats.package.generation import Generation


def trace(
    model: Any, backbone: Backbone, folder: Path, generation: Generation | None = None
) -> onnx.ModelProto:
    """The graph of the weightless `model` of `backbone`; `folder` is for files on the way.

    Raises InputError `input.tracer` with `generation`: optimum's inputs and masks are its own.
    """
    if generation is not None:
        raise InputError(
            Code.INPUT_TRACER,
            "the tracer optimum makes no graph that generates text: take torchscript",
        )
    config = _onnx_config(model, backbone)
    inputs = config.rename_ambiguous_inputs(config.generate_dummy_inputs(framework="pt"))
    model.config.return_dict = True
    for name, value in (config.values_override or {}).items():
        setattr(model.config, name, value)
    path = folder / "traced.onnx"
    with config.patch_model_for_export(model, model_kwargs={}):
        axes = config.ordered_inputs(model)
        torch.onnx.export(
            model,
            (inputs,),
            str(path),
            input_names=list(axes),
            output_names=list(config.outputs),
            dynamic_axes=dict(chain(axes.items(), config.outputs.items())),
            do_constant_folding=False,  # as the tracer `torchscript` has it
            keep_initializers_as_inputs=True,
            export_params=False,
            opset_version=TORCHSCRIPT_OPSET,
            dynamo=False,
        )
    return onnx.load_model(path)


def _onnx_config(model: Any, backbone: Backbone) -> Any:
    """Optimum's configuration for the model, with this backbone's inputs and outputs."""
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
            return output_axes(backbone)

    return Config(model.config, task="feature-extraction")
