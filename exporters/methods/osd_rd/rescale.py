"""The best scales for columns that are quantised already, in closed form."""

import torch

from osd_edge.exporters.methods.osd_rd.moments import times
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.stored.latents import Latent, quantize

_RIDGE = 1e-4  # of the diagonal: columns that became nearly equal keep finite scales


def rescaled(latent: Latent, delta: torch.Tensor, statistics: Statistics) -> Latent:
    """`latent` with the scales c that minimise tr(G E A Eᵀ), E = ΔW − Σₖ cₖ q_u,k q_v,kᵀ.

    The least-squares optimum solves [(Qu G Quᵀ) ∘ (Qv A Qvᵀ)] c = diag(Qu G ΔW A Qvᵀ), with Qu
    `[k, n]` and Qv `[k, d]`.
    """
    assert latent.v is not None
    u, v = quantize(latent.u), quantize(latent.v)
    gu, av = times(u, statistics.g), times(v, statistics.a)
    system = (gu @ u.T) * (av @ v.T)
    target = ((gu @ delta) * av).sum(1)
    norm = system.diagonal().sqrt()
    system = system / norm[:, None] / norm + _RIDGE * torch.eye(len(norm))
    return Latent(latent.u, latent.v, torch.linalg.solve(system, target / norm) / norm)
