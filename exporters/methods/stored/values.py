"""Values of factors and heads in the type that the bundle stores: fp32, fp16 or int8."""

import numpy as np
import torch
from numpy.typing import NDArray

from osd_edge.exporters.models.rounding import to_fp16
from osd_edge.formats.bundle.plain import Matrix, PlainSite
from osd_edge.formats.bundle.plain_factor import PlainFactor


def stored_site(site: int, u: torch.Tensor, v: torch.Tensor, values: str) -> PlainSite | None:
    """Factors U `[k, n]` and V `[k, d]` as the bundle stores them; None where nothing is left.

    int8 has one scale a column: u_k and v_k are each scaled to ±127, the product of both scales
    is stored.
    """
    left, right = _matrix(u, values), _matrix(v, values)
    alive = left.values.any(axis=1) & right.values.any(axis=1)
    scale = None
    if left.scale is not None and right.scale is not None:
        scale = (left.scale * right.scale)[alive]
    if not alive.any():
        return None
    return PlainSite(
        site, PlainFactor.of(left.values[alive]), PlainFactor.of(right.values[alive]), scale
    )


def stored_matrix(weight: torch.Tensor, values: str) -> Matrix:
    """A matrix `[n, d]` as the bundle stores it; int8 has one scale for each row."""
    return _matrix(weight, values)


def stored_product(u: torch.Tensor, v: torch.Tensor, values: str) -> tuple[Matrix, Matrix]:
    """A product of U `[k, n]` and V `[k, d]`; int8 scales of both are kept with U."""
    left, right = _matrix(u, values), _matrix(v, values)
    if left.scale is None or right.scale is None:
        return left, right
    return Matrix(left.values, left.scale * right.scale), Matrix(right.values)


def _matrix(tensor: torch.Tensor, values: str) -> Matrix:
    array: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    if values == "fp32":
        return Matrix(array)
    if values == "fp16":
        refusal = "a value is too large for fp16: use int8 or, for a delta, fp32"
        return Matrix(to_fp16(array, refusal))
    peak = np.abs(array).max(axis=1)
    scale = np.where(peak > 0, peak / 127, 1).astype(np.float32)
    return Matrix(np.rint(array / scale[:, None]).astype(np.int8), scale)
