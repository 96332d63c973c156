"""zstd: the plain way. The delta of every linear layer and the head in fp16, under Zstandard.

The high bytes (sign, exponent) of all values stand before the low bytes, since only the former
compress.
"""

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone

LEVEL = 19
_FILE = "delta.safetensors.zst"


class ZstdDelta:
    """fp16 values in two byte planes, Zstandard level 19."""

    name = "zstd"
    sized = False

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        import zstandard

        values = [flat.fp16(source.delta(layer.name)).reshape(-1) for layer in source.layers]
        planes = np.concatenate(values).view(np.uint8).reshape(-1, 2)
        tensors = flat.fp16_head(source) | {
            "high": planes[:, 1],
            "low": planes[:, 0],
            "sites": flat.site_table(source),
        }
        data = zstandard.ZstdCompressor(level=LEVEL).compress(flat.pack(tensors))
        return Compressed({_FILE: data}, {"level": LEVEL})

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The fp16 deltas and head."""
        import zstandard

        (data,) = files.values()
        tensors = flat.unpack(zstandard.ZstdDecompressor().decompress(data))
        layers = flat.listed_layers(tensors, backbone)
        planes = np.stack([tensors["low"], tensors["high"]], axis=1)
        values = torch.from_numpy(planes.view(np.float16).reshape(-1).astype(np.float32))
        parts = torch.split(values, [layer.n * layer.d for layer in layers])
        deltas = {
            layer.name: part.view(layer.n, layer.d)
            for layer, part in zip(layers, parts, strict=True)
        }
        return Restored(deltas, flat.read_head(tensors))
