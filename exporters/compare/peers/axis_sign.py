"""axis-sign: signs of the delta, with a scale for each row or for each column.

ΔŴ = diag(a) sign(ΔW) or sign(ΔW) diag(b), whichever is nearer to ΔW in a layer. The
least-squares scale of a row is its mean |ΔW|, and what it leaves is Σ ΔW² - Σ_i d a_i².
"""

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat, signs
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone

_FILE = "axis-sign.safetensors"


class AxisSign:
    """1-bit signs, fp16 scales along the better axis."""

    name = "axis-sign"
    sized = False

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        deltas = [source.delta(layer.name) for layer in source.layers]
        axes, scales = [], []
        for delta in deltas:
            n, d = delta.shape
            rows, columns = delta.abs().mean(1), delta.abs().mean(0)
            axis = int(n * columns.square().sum() > d * rows.square().sum())
            axes.append(axis)
            scales.append(flat.fp16(columns if axis else rows))
        tensors = flat.fp16_head(source) | {
            "sites": flat.site_table(source),
            "axes": np.array(axes, np.uint8),
            "scales": np.concatenate(scales),
            "signs": signs.pack(deltas),
        }
        return Compressed({_FILE: flat.pack(tensors)}, {"column_sites": sum(axes)})

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """Signs times scales, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers = flat.listed_layers(tensors, backbone)
        scales = torch.from_numpy(tensors["scales"].astype(np.float32))
        deltas, start = {}, 0
        sign = signs.unpack(tensors["signs"], layers)
        for layer, axis in zip(layers, tensors["axes"].tolist(), strict=True):
            count = layer.d if axis else layer.n
            scale = scales[start : start + count]
            start += count
            deltas[layer.name] = sign[layer.name] * (scale if axis else scale[:, None])
        return Restored(deltas, flat.read_head(tensors))
