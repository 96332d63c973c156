"""Columns of low-rank products in a few bits, in the bytes of a flat file and back.

A column of a product is one of B `[n]` with the row of A `[d]` that it is multiplied with.
Those of a file come in parts, each with its own number of bits, and of columns at each site.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat, low_bits
from osd_edge.exporters.compare.peers.peer import Compressed, Files, Restored
from osd_edge.exporters.methods.budget import Budget
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone, LinearLayer

# By site: the columns of B as `[k, n]`, the rows of A as `[k, d]`.
FactorColumns = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Precision:
    """Bits of a value, and the length of the groups of values that share a scale."""

    bits: int
    group: int


class PackedColumns(ABC):
    """A peer whose one file has parts of columns, each in its own precision; heads are in fp16."""

    name: str
    sized = False
    precisions: tuple[tuple[str, Precision], ...]

    @abstractmethod
    def parts(self, source: Source) -> Mapping[str, FactorColumns]:
        """The columns of each part of the file; `precisions` has the same parts."""

    def compress(self, source: Source, budget: Budget | None) -> Compressed:
        """The one file there is."""
        tensors = flat.fp16_head(source) | {"sites": flat.site_table(source)}
        values = 0
        detail: dict[str, int | float] = {}
        for part, columns in self.parts(source).items():
            tensors |= _packed(part, columns, dict(self.precisions)[part])
            detail[part] = sum(len(b) for b, _ in columns.values())
            values += sum(b.numel() + a.numel() for b, a in columns.values())
        data = flat.pack(tensors)
        detail["bits_a_value"] = round(8 * len(data) / values, 2)
        return Compressed({f"{self.name}.safetensors": data}, detail)

    def restore(self, files: Files, backbone: Backbone) -> Restored:
        """The sum of all parts at each layer, and the head."""
        (data,) = files.values()
        tensors = flat.unpack(data)
        layers = flat.listed_layers(tensors, backbone)
        deltas: dict[str, torch.Tensor] = {}
        for part, how in self.precisions:
            for name, delta in _unpacked(tensors, part, layers, how).items():
                deltas[name] = deltas[name] + delta if name in deltas else delta
        return Restored(deltas, flat.read_head(tensors))


def _packed(name: str, columns: FactorColumns, how: Precision) -> dict[str, flat.Array]:
    """The tensors of one part of a file, called `name`; sites in the order of `columns`."""
    codes, scales, units = [], [], []
    for both in columns.values():
        for rows in both:
            rounded = low_bits.rounded(rows.numpy(), how.bits, how.group)
            codes.append(rounded.codes.reshape(-1))
            scales.append(rounded.scales.reshape(-1))
            units.append(rounded.unit)
    return {
        f"{name}.columns": np.array([len(b) for b, _ in columns.values()], np.uint16),
        f"{name}.codes": low_bits.pack(np.concatenate(codes), how.bits),
        f"{name}.scales": np.concatenate(scales),
        f"{name}.units": np.array(units, np.float32),
    }


def _unpacked(
    tensors: Mapping[str, flat.Array], name: str, layers: Sequence[LinearLayer], how: Precision
) -> dict[str, torch.Tensor]:
    """ΔW `[n, d]` of each of `layers` by one part of a file."""
    counts = tensors[f"{name}.columns"].tolist()
    total = sum(k * (layer.n + layer.d) for k, layer in zip(counts, layers, strict=True))
    codes = low_bits.unpack(tensors[f"{name}.codes"], total, how.bits)
    scales, units = tensors[f"{name}.scales"], iter(tensors[f"{name}.units"].tolist())
    deltas = {}
    for k, layer in zip(counts, layers, strict=True):
        rows = []
        for width in (layer.n, layer.d):
            groups = -(-width // how.group)
            own, codes = np.split(codes, [k * width])
            own_scales, scales = np.split(scales, [k * groups])
            rounded = low_bits.FewBits(
                own.reshape(k, width), own_scales.reshape(k, groups), next(units), *_of(how)
            )
            rows.append(torch.from_numpy(rounded.values()))
        b, a = rows
        deltas[layer.name] = b.T @ a
    return deltas


def _of(how: Precision) -> tuple[int, int]:
    return how.bits, how.group
