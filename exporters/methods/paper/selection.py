"""The paper's three methods: how each one spends a budget on the sites' factors.

* truncsvd: leading columns, dense.
* magtruncsvd: k = r + c columns, and of both factors the elements of largest magnitude.
* osd: the same, by importance (Optimal Singular Damage, arXiv 2511.02681).
"""

import math
from collections.abc import Mapping, Sequence

import torch

from osd_edge.exporters.methods.budget import VALUE_BITS, column_bits, layer_bits, paper_bits
from osd_edge.exporters.methods.factorize import Factors, Spectrum
from osd_edge.exporters.methods.paper.sparsify import sparsify
from osd_edge.exporters.methods.stored.values import stored_site
from osd_edge.formats.bundle.plain import PlainSite

EXTRA_RANKS = (1, 2, 3, 5)  # the grid for c in k = r + c
DEFAULT_EXTRA = 2  # where no calibration set says which c is best

Scores = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def truncate_by_rank(
    factors: Mapping[str, Factors], site_index: Mapping[str, int], rank: float, values: str
) -> list[PlainSite]:
    """truncsvd at budget r: as many dense columns a layer as 32 r (n + d) bits hold."""
    ranks = {
        name: layer_bits(rank, f.n, f.d) // column_bits(f.n, f.d, values)
        for name, f in factors.items()
    }
    return _truncate(factors, site_index, ranks, values)


def columns_by_worth(
    factors: Mapping[str, Factors] | Mapping[str, Spectrum], values: str
) -> list[str]:
    """Site of each column, best first by squared singular value for each bit it costs."""
    worth = [
        (-(float(s) ** 2) / column_bits(f.n, f.d, values), name, i)
        for name, f in factors.items()
        for i, s in enumerate(f.singular)
    ]
    return [name for _, name, _ in sorted(worth)]


def truncate_by_columns(
    factors: Mapping[str, Factors],
    site_index: Mapping[str, int],
    columns: Sequence[str],
    values: str,
) -> list[PlainSite]:
    """truncsvd with one column for each time that a site is named in `columns`."""
    ranks = dict.fromkeys(factors, 0)
    for name in columns:
        ranks[name] += 1
    return _truncate(factors, site_index, ranks, values)


def sparsify_by_rank(
    factors: Mapping[str, Factors],
    scores: Scores,
    site_index: Mapping[str, int],
    rank: float,
    k: int,
    values: str,
) -> list[PlainSite]:
    """magtruncsvd or osd: elements of `k` columns a layer, μ within 32 r (n + d) bits."""
    deltas = []
    for name, f in factors.items():
        u, v = sparsify(f, scores[name], k, layer_bits(rank, f.n, f.d), values)
        deltas.append(stored_site(site_index[name], u, v, values))
    return _in_order(deltas)


def nominal_rank(rank: float, values: str) -> int:
    """Dense columns of the value type in the bits of `rank` fp32 columns, rounded up."""
    return math.ceil(rank * 32 / VALUE_BITS[values])


def dense_bits(sites: Sequence[PlainSite], values: str) -> int:
    """The paper's bits of dense columns over all sites."""
    return sum(s.k * column_bits(s.n, s.d, values) for s in sites)


def sparse_bits(sites: Sequence[PlainSite], values: str) -> int:
    """The paper's count μ of kept elements over all sites."""
    return sum(paper_bits(s.n, s.d, s.k, s.u.count, s.v.count, values) for s in sites)


def _truncate(
    factors: Mapping[str, Factors],
    site_index: Mapping[str, int],
    ranks: Mapping[str, int],
    values: str,
) -> list[PlainSite]:
    return _in_order(
        [
            stored_site(site_index[name], f.u[: ranks[name]], f.v[: ranks[name]], values)
            for name, f in factors.items()
            if ranks[name] > 0
        ]
    )


def _in_order(deltas: Sequence[PlainSite | None]) -> list[PlainSite]:
    return sorted((s for s in deltas if s is not None), key=lambda s: s.site)
