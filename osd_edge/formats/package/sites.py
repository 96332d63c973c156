"""The sites of a base, and the delta branches of its graph, which may serve several.

Sites with the same input names are packed: they read the same x, of which the graph makes one
product with V and one with U. Their columns of V stand beside each other, `[t, d, K]` with K the
sum of their ranks. U `[t, K, N]` has a block for each site, from its own ranks to its own outputs,
which follow one another in the order of the table; N is the sum of their n. The rest of U is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A linear layer of the backbone that may carry a delta.

    Attributes:
        name: The layer's module path.
        n: Outputs.
        d: Inputs.
        u: Name of the graph input for its factor `[t, k, n]` (t = 1 or the batch), or None where
            this package has no branch for the layer. Packed sites share one.
        v: Name of the graph input for its factor `[t, d, k]`, or None likewise.

    >>> from pathlib import Path
    >>> from osd_edge import read_manifest
    >>> site = read_manifest(Path("base")).sites[0]
    >>> site.n, site.d
    (32, 32)
    """

    name: str
    n: int
    d: int
    u: str | None = None
    v: str | None = None


@dataclass(frozen=True)
class Branch:
    """One delta branch of a graph: its input names, and the sites that it serves.

    `sites` are indices in the site table, `starts` where their outputs begin among the branch's.
    """

    u: str
    v: str
    n: int
    d: int
    sites: tuple[int, ...]
    starts: tuple[int, ...]


def branches_of(sites: Sequence[Site]) -> tuple[Branch, ...]:
    """Groups the sites of a table by branch, in the order in which branches begin.

    Raises ValueError where sites share one input name and not the other, or read x of other widths.
    """
    members: dict[str, list[int]] = {}
    for index, site in enumerate(sites):
        if site.u is not None:
            members.setdefault(site.u, []).append(index)
    found = []
    for u, indices in members.items():
        first = sites[indices[0]]
        if any((sites[i].v, sites[i].d) != (first.v, first.d) for i in indices):
            raise ValueError("packed sites differ in their inputs")
        assert first.v is not None
        starts, n = [], 0
        for index in indices:
            starts.append(n)
            n += sites[index].n
        found.append(Branch(u, first.v, n, first.d, tuple(indices), tuple(starts)))
    names = [name for branch in found for name in (branch.u, branch.v)]
    if len(set(names)) != len(names):
        raise ValueError("two graph inputs have one name")
    return tuple(found)
