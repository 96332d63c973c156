"""Signs of all deltas in one bit each, in the order of the site table."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.exporters.models.backbone import LinearLayer


def pack(deltas: Sequence[torch.Tensor]) -> NDArray[np.uint8]:
    """One bit a weight, 1 for above zero, the first in the highest bit of a byte."""
    bits = torch.cat([delta.reshape(-1) > 0 for delta in deltas]).numpy()
    packed: NDArray[np.uint8] = np.packbits(bits)
    return packed


def unpack(packed: NDArray[np.uint8], layers: Sequence[LinearLayer]) -> Mapping[str, torch.Tensor]:
    """+1 or -1 `[n, d]` by site."""
    total = sum(layer.n * layer.d for layer in layers)
    bits = torch.from_numpy(np.unpackbits(packed, count=total)).float().mul_(2).sub_(1)
    parts = torch.split(bits, [layer.n * layer.d for layer in layers])
    return {
        layer.name: part.view(layer.n, layer.d) for layer, part in zip(layers, parts, strict=True)
    }
