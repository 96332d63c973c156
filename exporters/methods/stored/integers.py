"""From latents to what the bundle stores: integers with scales of the grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.exporters.methods.stored.latents import Latent, Latents, quantize
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix, IntegerSite
from osd_edge.formats.bundle.vectors import VectorDelta
from osd_edge.formats.coding.rows import row_bits
from osd_edge.formats.coding.scales import snap_scales

_BIAS_LEVELS = 16  # integers on either side of zero for a head's bias


@dataclass(frozen=True)
class Integers:
    """The integers of a bundle: sites in the order of the site table, and the head's layers.

    `vectors` are the changes of biases and norms, in the order of the base's list.
    """

    sites: tuple[IntegerSite, ...]
    layers: tuple[IntegerLayer, ...]
    vectors: tuple[VectorDelta, ...] = ()


def integer_sites(latents: Latents, site_index: Mapping[str, int]) -> list[IntegerSite]:
    """The sites in the order of the site table, scales snapped together and signs in U."""
    names = sorted(latents.sites, key=lambda name: site_index[name])
    sites = [latents.sites[name] for name in names]
    if not sites:
        return []
    scales = torch.cat([site.scale for site in sites])
    snapped = np.split(
        snap_scales(_positive(scales)), np.cumsum([len(site.scale) for site in sites])[:-1]
    )
    result = []
    for name, site, scale in zip(names, sites, snapped, strict=True):
        assert site.v is not None
        u = quantize(site.u) * torch.where(site.scale < 0, -1.0, 1.0)[:, None]
        result.append(
            IntegerSite(site_index[name], _integers(u), _integers(quantize(site.v)), scale)
        )
    return result


def integer_layers(latents: Latents, activations: Sequence[str | None]) -> list[IntegerLayer]:
    """The head's layers, each matrix with scales snapped together."""
    return [
        _layer(latent, bias, activation)
        for latent, bias, activation in zip(latents.head, latents.biases, activations, strict=True)
    ]


def integer_vectors(latents: Latents, vector_index: Mapping[str, int]) -> list[VectorDelta]:
    """The changes of vectors in the order of the base's list, scales snapped together."""
    names = sorted(latents.vectors, key=lambda name: vector_index[name])
    if not names:
        return []
    scales = torch.cat([latents.vectors[name].scale for name in names])
    return [
        VectorDelta(vector_index[name], _integers(quantize(latents.vectors[name].u[0])), scale)
        for name, scale in zip(names, snap_scales(_positive(scales)), strict=True)
    ]


def approximate_bits(latents: Latents) -> float:
    """Bits of all rows with their scales, but for lanes and tables: fast, for use in a loop."""
    parts = [*latents.sites.values(), *latents.head, *latents.vectors.values()]
    rows = [x for latent in parts for x in latent.rows]
    scales = sum(len(latent.scale) for latent in parts)
    return 8 * scales + sum(float(row_bits(_integers(quantize(x))).sum()) for x in rows)


def _layer(latent: Latent, bias: torch.Tensor | None, activation: str | None) -> IntegerLayer:
    scale = snap_scales(_positive(latent.scale))
    codes = _integers(quantize(latent.u) * torch.where(latent.scale < 0, -1.0, 1.0)[:, None])
    matrix = IntegerMatrix(codes, scale)
    integer_bias = None if bias is None else _bias(bias)
    if latent.v is None:
        return IntegerLayer(activation, integer_bias, weight=matrix)
    return IntegerLayer(activation, integer_bias, u=matrix, v=_integers(quantize(latent.v)))


def _bias(bias: torch.Tensor) -> IntegerMatrix:
    scale = snap_scales(np.array([max(float(bias.abs().max()), 1e-6) / _BIAS_LEVELS]))
    return IntegerMatrix(_integers((bias / float(scale[0])).round()[None]), scale)


def _positive(scales: torch.Tensor) -> NDArray[np.float64]:
    positive: NDArray[np.float64] = np.maximum(scales.abs().double().numpy(), 1e-14)
    return positive


def _integers(x: torch.Tensor) -> NDArray[np.int32]:
    result: NDArray[np.int32] = x.detach().to(torch.int32).numpy()
    return result
