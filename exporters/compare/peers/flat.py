"""A flat safetensors file: few tensors, sites by their index in the base's table, fp16 heads."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone, LinearLayer
from osd_edge.exporters.models.rounding import to_fp16

Array = NDArray[Any]

_HEAD = "head."


def pack(tensors: Mapping[str, Array]) -> bytes:
    """The bytes of a safetensors file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return bytes(safetensors.numpy.save(arrays))


def unpack(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file."""
    return dict(safetensors.numpy.load(data))


def site_table(source: Source, sites: Iterable[str] | None = None) -> Array:
    """Site indices of `sites` (default: all with a delta), in 16 bits."""
    names = [layer.name for layer in source.layers] if sites is None else sites
    return np.array([source.site_index[name] for name in names], np.uint16)


def listed_layers(tensors: Mapping[str, Array], backbone: Backbone) -> list[LinearLayer]:
    """The layers that the tensor `sites` names."""
    return [backbone.layers[index] for index in tensors["sites"].tolist()]


def fp16_head(source: Source) -> dict[str, Array]:
    """The fine-tuned head in fp16."""
    return {f"{_HEAD}{name}": fp16(value) for name, value in source.head().items()}


def read_head(tensors: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """The head in float32."""
    return {
        name.removeprefix(_HEAD): torch.from_numpy(array.astype(np.float32))
        for name, array in tensors.items()
        if name.startswith(_HEAD)
    }


def fp16(tensor: torch.Tensor) -> NDArray[np.float16]:
    """`tensor` in fp16; raises ModelError `model.range` where a value is too large."""
    return to_fp16(tensor.detach().numpy(), "a value is too large for fp16")
