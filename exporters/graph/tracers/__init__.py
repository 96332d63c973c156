"""The ways to trace a backbone: torch's two exporters, and optimum-onnx where it is installed.

Each is a module with `trace(model, backbone, folder, generation)`. It takes a weightless model and
gives a graph whose parameters are inputs by their names, and whose nodes are named for the modules
that they are in: `/encoder/layer.0/attention/self/query/MatMul`. Where `generation` is not None the
graph takes keys and values of earlier tokens, and gives them with those of the new ones.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osd_edge.errors import Code, InputError, shown

if TYPE_CHECKING:  # the command line asks for the names alone
    import onnx

    from osd_edge.exporters.models.backbone import Backbone
    from osd_edge.formats.package.generation import Generation

Tracer = Callable[[Any, "Backbone", Path, "Generation | None"], "onnx.ModelProto"]

# By the tracer's name: what brings what it needs.
_NEEDED = {
    "torchscript": "pip install 'osd-edge[export]'",
    "dynamo": "pip install 'osd-edge[dynamo]'",
    "optimum": "install optimum-onnx beside transformers 4.57, in an environment of its own",
}
TRACERS = tuple(_NEEDED)


def tracer_named(name: str) -> Tracer:
    """The tracer `name`, one of TRACERS.

    Raises InputError `input.tracer` where the package that it needs is not installed, or does not
    go with the transformers that is.
    """
    try:
        module = import_module(f"{__name__}.{name}")
    except ImportError as error:
        if name == TRACERS[0]:
            raise  # an installation that is broken: no other tracer would do
        raise InputError(
            Code.INPUT_TRACER,
            f"the tracer {name} cannot be used here ({shown(str(error), 120)}): {_NEEDED[name]}, "
            f"or take {TRACERS[0]}",
        ) from error
    trace: Tracer = module.trace
    return trace
