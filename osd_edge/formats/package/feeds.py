"""Turns a task's factors into the inputs of a base package's graph, in fp32 or fp16.

The session, its batches of mixed tasks and the adapters for other programs all feed the graph what
this module gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, TaskError
from osd_edge.formats.bundle.model import Bundle, StoredSite
from osd_edge.formats.package.manifest import BaseManifest
from osd_edge.formats.package.sites import Branch

Array = NDArray[Any]


def factor_feeds(name: str, bundle: Bundle, manifest: BaseManifest) -> dict[str, Array]:
    """Decodes the factors of `bundle` into graph inputs by name: U `[1, k, n]`, V `[1, d, k]`.

    The changes of vectors are among them, `[1, 1, n]`.

    They have the type that the package takes and are views of one arena, in which they lie one
    after the other. Those of packed sites are put together. `bundle` must have been checked to fit
    `manifest`. Raises TaskError `task.range`, which calls the task `name`, where fp16 cannot hold a
    factor.
    """
    bundle = bundle.decoded()
    deltas = {delta.site: delta for delta in bundle.sites}
    layouts = [_Layout.of(branch, deltas) for branch in manifest.branches]
    layouts = [layout for layout in layouts if layout.k]
    changes = {each.vector: each for each in bundle.vectors}
    changed = [x for x in manifest.vector_inputs if not changes.keys().isdisjoint(x.vectors)]
    size = sum(layout.size for layout in layouts) + sum(each.n for each in changed)
    arena = np.zeros(size, np.float32)
    factors: dict[str, Array] = {}
    at = 0
    for layout in layouts:
        u, v = layout.views(arena, at)
        for delta, start, column in layout.parts:
            own = u[column : column + delta.k, start : start + delta.n]
            beside = v[:, column : column + delta.k]
            delta.write(own, beside)
            if manifest.factors == "fp16":
                balance(own, beside)
        factors[layout.branch.u], factors[layout.branch.v] = u, v
        at += layout.size
    for each in changed:
        whole = factors[each.name] = arena[at : at + each.n].reshape(1, each.n)
        for index, start in zip(each.vectors, each.starts, strict=True):
            if index in changes:
                own = changes[index].decode()
                whole[0, start : start + own.size] = own
        at += each.n
    if manifest.factors == "fp16":
        factors = _split(factors_to_fp16(name, arena), factors)
    return {key: factor[None] for key, factor in factors.items()}


def empty_feeds(manifest: BaseManifest) -> dict[str, Array]:
    """Gives the factors of no delta, of rank 0, as inputs of every branch by name.

    Vectors' changes are zeros.
    """
    kind = {"fp32": np.float32, "fp16": np.float16}[manifest.factors]
    feeds: dict[str, Array] = {}
    for branch in manifest.branches:
        feeds[branch.u] = np.zeros((1, 0, branch.n), kind)
        feeds[branch.v] = np.zeros((1, branch.d, 0), kind)
    for each in manifest.vector_inputs:
        feeds[each.name] = np.zeros((1, 1, each.n), kind)
    return feeds


@dataclass(frozen=True)
class _Layout:
    """The place of the deltas of one branch in its factors, which have `k` columns in all.

    `parts` has each delta, where its outputs begin, and its first column.
    """

    branch: Branch
    k: int
    parts: tuple[tuple[StoredSite, int, int], ...]

    @classmethod
    def of(cls, branch: Branch, deltas: Mapping[int, StoredSite]) -> "_Layout":
        parts, k = [], 0
        for site, start in zip(branch.sites, branch.starts, strict=True):
            delta = deltas.get(site)
            if delta is not None:
                parts.append((delta, start, k))
                k += delta.k
        return cls(branch, k, tuple(parts))

    @property
    def size(self) -> int:
        return self.k * (self.branch.n + self.branch.d)

    def views(self, arena: Array, at: int) -> tuple[Array, Array]:
        """U `[k, n]` and V `[d, k]` in `arena` from place `at` on."""
        middle = at + self.k * self.branch.n
        u = arena[at:middle].reshape(self.k, self.branch.n)
        return u, arena[middle : at + self.size].reshape(self.branch.d, self.k)


def balance(u: Array, v: Array) -> None:
    """Makes each column's u and v of like size, in place: `u` `[k, n]`, `v` `[d, k]`, fp32.

    A column's u is often some 10⁻⁴ and its v some hundreds, both near an end of what fp16 can
    tell apart. A power of two moves from one to the other, which loses nothing.
    """
    # frexp: the exponents of the largest magnitudes of column j in u and v
    above, below = (np.frexp(np.abs(x).max(axis=axis))[1] for x, axis in ((u, 1), (v, 0)))
    shift = (below - above) // 2
    u[:] = np.ldexp(u, shift[:, None])
    v[:] = np.ldexp(v, -shift[None, :])


def factors_to_fp16(task: str, factors: Array) -> Array:
    """Rounds `factors` of `task` to fp16; raises TaskError `task.range` where it cannot hold them.

    >>> factors_to_fp16("reviews", np.array([0.1, 2.0], np.float32)).tolist()
    [0.0999755859375, 2.0]
    """
    with np.errstate(over="ignore"):
        rounded: Array = factors.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise TaskError(
            Code.TASK_RANGE,
            f"task {task!r} has factors beyond what fp16 holds: use a base package with fp32 "
            "factors ('osd-edge export base --factors fp32')",
        )
    return rounded


def _split(arena: Array, like: dict[str, Array]) -> dict[str, Array]:
    """Views of `arena`, one after the other, of the names and shapes of `like`."""
    views = {}
    at = 0
    for key, factor in like.items():
        views[key] = arena[at : at + factor.size].reshape(factor.shape)
        at += factor.size
    return views
