"""Pairs of columns in a few bits, in the bytes of a flat file and back.

A pair is a column of B `[n]` and a row of A `[d]`; ΔW of a site is the sum of its pairs' products.
The pairs of a file come in parts, each with its own number of bits and of pairs at each site.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from osd_edge.exporters.compare.peers import flat, low_bits
from osd_edge.exporters.models.backbone import LinearLayer

Pairs = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # B's columns `[k, n]`, A's rows `[k, d]`


@dataclass(frozen=True)
class PairCoding:
    """Bits of a value, and the length of the groups of values that share a scale."""

    bits: int
    group: int


def packed(name: str, pairs: Pairs, how: PairCoding) -> dict[str, flat.Array]:
    """The tensors of one part of a file, called `name`; sites in the order of `pairs`."""
    codes, scales, units = [], [], []
    for both in pairs.values():
        for rows in both:
            coded = low_bits.coded(rows.numpy(), how.bits, how.group)
            codes.append(coded.codes.reshape(-1))
            scales.append(coded.scales.reshape(-1))
            units.append(coded.unit)
    return {
        f"{name}.pairs": np.array([len(b) for b, _ in pairs.values()], np.uint16),
        f"{name}.codes": low_bits.pack(np.concatenate(codes), how.bits),
        f"{name}.scales": np.concatenate(scales),
        f"{name}.units": np.array(units, np.float32),
    }


def unpacked(
    tensors: Mapping[str, flat.Array], name: str, layers: Sequence[LinearLayer], how: PairCoding
) -> dict[str, torch.Tensor]:
    """ΔW `[n, d]` of each of `layers` by one part of a file."""
    counts = tensors[f"{name}.pairs"].tolist()
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
            coded = low_bits.Coded(
                own.reshape(k, width), own_scales.reshape(k, groups), next(units), *_of(how)
            )
            rows.append(torch.from_numpy(coded.values()))
        b, a = rows
        deltas[layer.name] = b.T @ a
    return deltas


def _of(how: PairCoding) -> tuple[int, int]:
    return how.bits, how.group
