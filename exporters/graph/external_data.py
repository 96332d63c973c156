"""Moving an ONNX graph's weights out of memory into its data file, tensor by tensor."""

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper

INLINE_BYTES = 1024  # smaller tensors stay in the graph file


def move_weights(model: onnx.ModelProto, folder: Path, location: str) -> onnx.ModelProto:
    """Append initializers, but for the smallest, to the file `folder / location`.

    Returns the model with references to them; `model` itself must not be used any more.
    """
    for tensor in model.graph.initializer:
        if tensor.HasField("raw_data") and len(tensor.raw_data) >= INLINE_BYTES:
            external_data_helper.set_external_data(tensor, location)
            external_data_helper.save_external_data(tensor, str(folder))
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
    # Cleared fields are only freed with the message that held them.
    light = onnx.ModelProto()
    light.ParseFromString(model.SerializeToString())
    return light


def append_weight(name: str, array: NDArray[Any], folder: Path, location: str) -> onnx.TensorProto:
    """An initializer `name` whose values are appended to the file `folder / location`."""
    tensor = numpy_helper.from_array(array, name)
    external_data_helper.set_external_data(tensor, location)
    external_data_helper.save_external_data(tensor, str(folder))
    light = onnx.TensorProto(name=name, dims=array.shape, data_type=tensor.data_type)
    light.data_location = TensorProto.EXTERNAL
    light.external_data.extend(tensor.external_data)
    return light


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Read the initializers that stand in files in `folder` into `model`, in place."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
