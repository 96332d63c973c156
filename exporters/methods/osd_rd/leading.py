"""The leading columns of a whitened SVD, without the rest and without any root of A or G.

Randomised subspace iteration (Halko, Martinsson and Tropp 2011, arXiv 0909.4061) on
M = G^½ ΔW A^½, written in Y = G^-½ P: rows y are made orthonormal in G, and each round multiplies
them by G ΔW A ΔWᵀ, which takes nothing but products with A, G and ΔW. From such rows Y `[k, n]`
and B = Y G ΔW `[k, d]` follow S² and a rotation R of B A Bᵀ = R S² Rᵀ, then U = √S Rᵀ Y and
V = Rᵀ B / √S.
"""

import torch

from osd_edge.exporters.methods.osd_rd.moments import Moment, times

OVERSAMPLING = 32  # columns beyond those asked for, which make these exact
ROUNDS = 2  # of the iteration
_SMALLEST = 1e-12  # of the largest squared length: what is left of rows that were all in others


def leading_columns(
    delta: torch.Tensor, g: Moment, a: Moment, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U `[k, n]`, V `[k, d]` and S `[k]` of ΔW `[n, d]`, largest first; fewer where S is zero."""
    n, d = delta.shape
    random = torch.Generator().manual_seed(0)
    start = torch.randn(min(k + OVERSAMPLING, n, d), d, generator=random)
    y = _orthonormal(times(start, a) @ delta.T, g)
    for _ in range(ROUNDS):
        y = _orthonormal(times(times(y, g) @ delta, a) @ delta.T, g)
    b = times(y, g) @ delta
    squares, rotation = torch.linalg.eigh(_gram(b, a))
    squares, rotation = squares.flip(0), rotation.flip(1)
    s = squares.clamp_min(0).sqrt()
    kept = min(k, int((s > s[0] * 1e-6).sum()))
    s, rotation = s[:kept], rotation[:, :kept]
    u = (rotation * s.sqrt()).T.float() @ y
    v = (rotation / s.sqrt()).T.float() @ b
    # Signs are fixed (the largest element of each row of U is positive).
    signs = u.gather(1, u.abs().argmax(1, keepdim=True)).sign()
    return u * signs, v * signs, s.float()


def _orthonormal(y: torch.Tensor, g: Moment) -> torch.Tensor:
    """Rows with the span of `y`, orthonormal in G; taken twice, for what single precision lost."""
    for _ in range(2):
        squares, vectors = torch.linalg.eigh(_gram(y, g))
        alive = squares > squares[-1] * _SMALLEST
        y = (vectors[:, alive] / squares[alive].sqrt()).T.float() @ y
    return y


def _gram(x: torch.Tensor, moment: Moment) -> torch.Tensor:
    """X M Xᵀ, added up in double precision."""
    gram = times(x, moment).double() @ x.double().T
    return (gram + gram.T) / 2
