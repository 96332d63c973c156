"""Random matrices, and the damage of an error by its definition."""

import torch

from osd_edge.exporters.methods.osd_rd.statistics import Statistics


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_statistics(n: int, d: int, seed: int) -> Statistics:
    x, g = random(seed, 3 * d, d), random(seed + 1, 3 * n, n)
    return Statistics(x.T @ x / len(x) + torch.eye(d), g.T @ g / len(g) + torch.eye(n), 0.5)


def damage(error: torch.Tensor, statistics: Statistics) -> float:
    """tr(G E A Eᵀ), the long way."""
    assert isinstance(statistics.a, torch.Tensor) and isinstance(statistics.g, torch.Tensor)
    return float(torch.trace(statistics.g @ error @ statistics.a @ error.T))
