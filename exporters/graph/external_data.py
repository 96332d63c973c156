"""Moving an ONNX graph's weights out of memory into its data file, tensor by tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper

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
    """An initializer `name` whose values are appended to the file `folder / location`.

    They go there as they are in memory: a tensor of ONNX would hold copies of them.
    """
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    light = onnx.TensorProto(name=name, dims=array.shape, data_type=kind)
    with (folder / location).open("ab") as file:
        begin = file.tell()
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        where = {"location": location, "offset": begin, "length": file.tell() - begin}
    light.data_location = TensorProto.EXTERNAL
    for key, value in where.items():
        light.external_data.add(key=key, value=str(value))
    return light


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Read the initializers that stand in files in `folder` into `model`, in place."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
