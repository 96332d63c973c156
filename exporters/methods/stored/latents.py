"""Latents: factors and head layers as real numbers in units of their quantiser's step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

ROUNDING = 0.35  # added before rounding down: a value becomes 0 below 0.65 of a step


def quantize(x: torch.Tensor) -> torch.Tensor:
    """The deadzone quantiser q = sign(x) ⌊|x| + 0.35⌋, of values in units of the step."""
    return x.sign() * (x.abs() + ROUNDING).floor()


@dataclass(frozen=True)
class Latent:
    """One weight or delta as rows that will be integers.

    Factors: `u` `[k, n]`, `v` `[k, d]` and `scale` `[k]` stand for Σⱼ scaleⱼ uⱼ vⱼᵀ. A full
    matrix (a small head layer): `u` `[n, d]` and `scale` `[n]` stand for scaleᵢ uᵢ, and `v` is
    None. Scales of factors may be negative until they are coded.
    """

    u: torch.Tensor
    v: torch.Tensor | None
    scale: torch.Tensor

    @property
    def rows(self) -> tuple[torch.Tensor, ...]:
        """The matrices to be quantised."""
        return (self.u,) if self.v is None else (self.u, self.v)

    def map(self, *rows: torch.Tensor) -> "Latent":
        """A latent with other matrices and these scales."""
        return replace(self, u=rows[0], v=rows[1] if len(rows) > 1 else None)

    def dense(self) -> torch.Tensor:
        """The matrix that it stands for once quantised, `[n, d]`."""
        left = quantize(self.u) * self.scale[:, None]
        return left if self.v is None else left.T @ quantize(self.v)


@dataclass(frozen=True)
class Latents:
    """All that a bundle codes: `sites` by layer name, head layers in order, and their biases.

    `vectors` are changes of the base's biases and norms, a row each, by the parameter's name.
    """

    sites: Mapping[str, Latent]
    head: tuple[Latent, ...]
    biases: tuple[torch.Tensor | None, ...]
    vectors: Mapping[str, Latent] = field(default_factory=dict)


def nonzero_columns(latent: Latent) -> Latent:
    """Factors without the columns of which one is all zero once quantised."""
    assert latent.v is not None
    alive = quantize(latent.u).any(1) & quantize(latent.v).any(1)
    return Latent(latent.u[alive], latent.v[alive], latent.scale[alive])


def without_empty(sites: Mapping[str, Latent]) -> dict[str, Latent]:
    """Sites without the columns of which a factor is all zero, and without those left empty."""
    kept = {name: nonzero_columns(latent) for name, latent in sites.items()}
    return {name: latent for name, latent in kept.items() if len(latent.scale)}


def shrunk(latents: Latents, amount: float) -> Latents:
    """Every value drawn towards zero by `amount` steps: fewer and smaller integers."""

    def shrink(latent: Latent) -> Latent:
        return latent.map(*(torch.nn.functional.softshrink(x, amount) for x in latent.rows))

    sites = without_empty({name: shrink(latent) for name, latent in latents.sites.items()})
    vectors = {name: shrink(latent) for name, latent in latents.vectors.items()}
    vectors = {name: latent for name, latent in vectors.items() if quantize(latent.u).any()}
    head = tuple(shrink(latent) for latent in latents.head)
    return Latents(sites, head, latents.biases, vectors)
