"""The best delta that a method finds within a budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from osd_edge.data.progress import Progress, silent
from osd_edge.data.sizes import format_size
from osd_edge.errors import BudgetError, Code
from osd_edge.exporters.methods.budget import (
    SCALE_BITS,
    VALUE_BITS,
    Budget,
    column_bits,
    element_bits,
)
from osd_edge.exporters.methods.factorize import Factors, Spectrum
from osd_edge.exporters.methods.paper import selection
from osd_edge.exporters.methods.stored.values import stored_site
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.formats.bundle.plain import PlainSite

_HALVINGS = 12  # of the range in which a size in bytes is searched: to about a thousandth
_BITMAP_SAVING = 4.0  # a file's positions take less than the paper counts: it may hold more

Sites = list[PlainSite]


@dataclass(frozen=True)
class Problem:
    """A budget, and the factors that it is to be spent on.

    `factors` and `scores` by site, `site_index` their index in the site table; `size_of` gives the
    bytes of the whole file for some sites.
    """

    method: str
    budget: Budget
    values: str
    factors: Mapping[str, Factors]
    site_index: Mapping[str, int]
    size_of: Callable[[Sequence[PlainSite]], int]
    scores: selection.Scores = field(default_factory=dict)


def columns_needed(
    budget: Budget, values: str, extra: int, layers: Sequence[LinearLayer]
) -> dict[str, int]:
    """Columns of each layer that a search with c up to `extra` will ask for.

    `layers` are those with a delta. For truncsvd and a budget in bytes `columns_within` tells.
    """
    rank = budget.rank
    if rank is None:
        rank = rank_of_bytes(budget, sum(layer.n + layer.d for layer in layers))
    most = selection.nominal_rank(rank, values) + extra
    return {layer.name: min(most, layer.n, layer.d) for layer in layers}


def columns_within(budget: Budget, values: str, spectra: Mapping[str, Spectrum]) -> dict[str, int]:
    """Columns of each layer that truncsvd can afford in the budget's bytes; one at least."""
    assert budget.size is not None
    needed = dict.fromkeys(spectra, 0)
    bits = 8 * budget.size
    for name in selection.columns_by_worth(spectra, values):
        bits -= column_bits(spectra[name].n, spectra[name].d, values)
        needed[name] += 1
        if bits < 0:
            break
    # one of each, so that the smallest possible file can be named
    return {name: max(1, k) for name, k in needed.items()}


def search_truncated(problem: Problem) -> Sites:
    """truncsvd within the budget; raises BudgetError `budget.too-small`."""
    p = problem
    if p.budget.rank is not None:
        sites = selection.truncate_by_rank(p.factors, p.site_index, p.budget.rank, p.values)
        if not sites:
            raise _too_small(p, f"column of {p.values}", VALUE_BITS[p.values] / 32)
        return sites
    columns = selection.columns_by_worth(p.factors, p.values)
    fits, fails = 0, len(columns) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        sites = selection.truncate_by_columns(p.factors, p.site_index, columns[:middle], p.values)
        if _fits(p, sites):
            fits = middle
        else:
            fails = middle
    if fits == 0:
        # The most worthy column may be too wide where a narrower one fits.
        singles = [
            selection.truncate_by_columns(p.factors, p.site_index, [name], p.values)
            for name in p.factors
        ]
        return _if_it_fits(p, min(singles, key=p.size_of))
    return selection.truncate_by_columns(p.factors, p.site_index, columns[:fits], p.values)


def search_sparse(problem: Problem, extra: int, progress: Progress = silent) -> Sites:
    """magtruncsvd or osd with k = r + `extra` columns, within the budget.

    For a budget in bytes k follows from the r that these bytes would be in fp32; how many
    elements then fill the file is searched. Raises BudgetError `budget.too-small`.
    """
    p = problem
    rank = p.budget.rank or _nominal_rank(p)
    k = selection.nominal_rank(rank, p.values) + extra

    def attempt(share: float) -> Sites:
        return selection.sparsify_by_rank(
            p.factors, p.scores, p.site_index, share * rank, k, p.values
        )

    if p.budget.rank is not None:
        sites = attempt(1)
        if not sites:
            raise _too_small(p, f"element of each factor in {p.values}", _smallest_rank(p, extra))
        return sites
    best: Sites = []
    low, high = 0.0, _BITMAP_SAVING
    for _ in progress(range(_HALVINGS), f"Fitting {p.method}, c = {extra}"):
        middle = (low + high) / 2
        sites = attempt(middle)
        if _fits(p, sites):
            low, best = middle, sites or best
        else:
            high = middle
    return best or _if_it_fits(p, _smallest_sites(p))


def _fits(problem: Problem, sites: Sites) -> bool:
    assert problem.budget.size is not None
    return problem.size_of(sites) <= problem.budget.size


def _if_it_fits(problem: Problem, smallest: Sites) -> Sites:
    """The smallest thing that a method can make, or the refusal that names its size."""
    if _fits(problem, smallest):
        return smallest
    size = problem.size_of(smallest)
    raise BudgetError(
        Code.BUDGET_TOO_SMALL,
        f"a budget of {problem.budget} is less than the head and any delta by {problem.method} "
        f"take; the smallest possible is {format_size(size)} ({size} bytes)",
    )


def _nominal_rank(problem: Problem) -> float:
    """The r whose fp32 columns are as many bytes as the budget."""
    return rank_of_bytes(problem.budget, sum(f.n + f.d for f in problem.factors.values()))


def rank_of_bytes(budget: Budget, total: int) -> float:
    """The r whose fp32 columns are the budget's bytes; `total` is Σ (n + d) over sites."""
    assert budget.size is not None
    return 8 * budget.size / (32 * total)


def _smallest_rank(problem: Problem, extra: int) -> float:
    """An r that pays for one element of U and of V among 1 + `extra` columns, rounded up."""
    values = problem.values
    least = math.inf
    for f in problem.factors.values():
        columns = min(1 + extra, len(f.singular))
        bits = sum(element_bits(f.n, f.d, columns, values))
        bits += SCALE_BITS * columns if values == "int8" else 0
        least = min(least, bits / (32 * (f.n + f.d)))
    return math.ceil(1e4 * least) / 1e4


def _smallest_sites(problem: Problem) -> Sites:
    """One site with one element of each factor: the least that a bundle can hold."""
    name = min(problem.factors, key=lambda name: problem.site_index[name])
    u, v = (_peak(factor[:1]) for factor in (problem.factors[name].u, problem.factors[name].v))
    site = stored_site(problem.site_index[name], u, v, problem.values)
    return [site] if site else []


def _peak(row: torch.Tensor) -> torch.Tensor:
    return torch.where(row.abs() == row.abs().max(), row, 0)


def _too_small(problem: Problem, unit: str, smallest: float) -> BudgetError:
    return BudgetError(
        Code.BUDGET_TOO_SMALL,
        f"a budget of {problem.budget} holds nothing of any linear layer: one {unit} takes "
        f"r={smallest:g} at least; give more",
    )
