"""The ways to trace a backbone: torch's two exporters, and optimum-onnx where it is installed.

Each is a module with `trace(model, backbone, folder)`. It takes a weightless model and gives a
graph whose parameters are inputs by their names, and whose nodes are named for the modules that
they are in: `/encoder/layer.0/attention/self/query/MatMul`.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osd_edge.errors import Code, InputError

if TYPE_CHECKING:  # the command line asks for the names alone
    import onnx

    from osd_edge.exporters.models.backbone import Backbone

Tracer = Callable[[Any, "Backbone", Path], "onnx.ModelProto"]

# By the tracer's name: a module that it needs, and the package that has it.
_NEEDED = {
    "torchscript": ("torch", "torch"),
    "dynamo": ("onnxscript", "onnxscript"),
    "optimum": ("optimum.exporters.onnx.model_configs", "optimum-onnx"),
}
TRACERS = tuple(_NEEDED)


def tracer_named(name: str) -> Tracer:
    """The tracer `name`, one of TRACERS.

    Raises InputError `input.tracer` where a package that it needs is not installed.
    """
    module, package = _NEEDED[name]
    if not _is_installed(module):
        raise InputError(
            Code.INPUT_TRACER,
            f"the tracer {name} needs {package}, which is not installed: install it, or take "
            f"{TRACERS[0]}",
        )
    trace: Tracer = import_module(f"{__name__}.{name}").trace
    return trace


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
