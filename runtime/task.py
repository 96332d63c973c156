"""A task as the session runs it: what its bundle decodes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.formats.bundle.model import Bundle
from osd_edge.formats.heads import Head
from osd_edge.formats.package.fp16_factors import balance, to_fp16
from osd_edge.formats.package.manifest import BaseManifest

Array = NDArray[Any]


@dataclass(frozen=True)
class DecodedTask:
    """A task ready to run: what to feed the graph, and the head for what comes out.

    `feeds` maps graph inputs to factors, U as `[1, k, n]` and V as `[1, d, k]`, all of them views
    of one arena. `nbytes` is the memory this takes.
    """

    name: str
    labels: tuple[str, ...]
    feeds: Mapping[str, Array]
    head: Head
    nbytes: int


def decode_task(name: str, bundle: Bundle, manifest: BaseManifest) -> DecodedTask:
    """Decode `bundle`, which must have been checked to fit `manifest`.

    Raises TaskError `task.range` where a package takes fp16 factors and the task's are too large.
    """
    bundle = bundle.decoded()
    arena = np.zeros(sum(s.k * (s.n + s.d) for s in bundle.sites), np.float32)
    factors: list[tuple[str, str, Array, Array]] = []
    at = 0
    for delta in bundle.sites:
        site = manifest.sites[delta.site]
        assert site.u is not None and site.v is not None
        middle, end = at + delta.k * delta.n, at + delta.k * (delta.n + delta.d)
        u = arena[at:middle].reshape(delta.k, delta.n)
        v = arena[middle:end].reshape(delta.d, delta.k)
        delta.write(u, v)
        factors.append((site.u, site.v, u, v))
        at = end
    if manifest.factors == "fp16":
        arena, factors = _halved(name, arena, factors)
    feeds = {key: x[None] for u, v, *both in factors for key, x in zip((u, v), both, strict=True)}
    head = bundle.head.decode()
    weights = [w for layer in head.layers for w in (layer.weight, layer.u, layer.v, layer.bias)]
    size = arena.nbytes + sum(w.nbytes for w in weights if w is not None)
    return DecodedTask(name, bundle.labels, feeds, head, size)


def _halved(
    name: str, arena: Array, factors: list[tuple[str, str, Array, Array]]
) -> tuple[Array, list[tuple[str, str, Array, Array]]]:
    """The same factors in fp16, in one arena."""
    for *_, u, v in factors:
        balance(u, v)
    half = to_fp16(name, arena)
    made = []
    at = 0
    for u_name, v_name, u, v in factors:
        middle, end = at + u.size, at + u.size + v.size
        halves = half[at:middle].reshape(u.shape), half[middle:end].reshape(v.shape)
        made.append((u_name, v_name, *halves))
        at = end
    return half, made
