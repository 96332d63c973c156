"""A difference of weights that is known as the product of two thin matrices, as a LoRA's is.

It has as many columns as the adapter has ranks and no more, which the difference of two rounded
weights would hide, and its decomposition takes a moment where that of the whole takes minutes.
"""

from dataclasses import dataclass

import torch

SVD = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LowRank:
    """ΔW = B A `[n, d]`, with `b` `[n, r]` and `a` `[r, d]`."""

    b: torch.Tensor
    a: torch.Tensor

    def dense(self) -> torch.Tensor:
        """ΔW itself."""
        return self.b @ self.a

    def svd(self) -> SVD:
        """P `[n, r]`, S `[r]` and Qᵀ `[r, d]` with ΔW = P S Qᵀ, S largest first.

        From B = Q₁ R₁ and Aᵀ = Q₂ R₂, and the decomposition of the small R₁ R₂ᵀ.
        """
        left, upper = torch.linalg.qr(self.b)
        right, lower = torch.linalg.qr(self.a.T)
        p, s, qt = torch.linalg.svd(upper @ lower.T, full_matrices=False)
        return left @ p, s, qt @ right.T

    def double(self) -> "LowRank":
        """The product in double precision."""
        return LowRank(self.b.double(), self.a.double())


def svd(matrix: torch.Tensor | LowRank) -> SVD:
    """P, S and Qᵀ of a matrix, by whichever way is the shorter."""
    if isinstance(matrix, LowRank):
        if len(matrix.a) < min(matrix.b.shape[0], matrix.a.shape[1]):
            return matrix.svd()
        matrix = matrix.dense()
    p, s, qt = torch.linalg.svd(matrix, full_matrices=False)
    return p, s, qt
