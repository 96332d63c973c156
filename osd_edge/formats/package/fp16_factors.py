"""Factors in fp16, for base packages whose graph takes them so."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import Code, TaskError

Array = NDArray[Any]


def balance(u: Array, v: Array) -> None:
    """Make each column's u and v of like size, in place: `u` `[k, n]`, `v` `[d, k]`, fp32.

    A column's u is often some 10⁻⁴ and its v some hundreds, both near an end of what fp16 can
    tell apart. A power of two moves from one to the other, which loses nothing.
    """
    # frexp: the exponents of the largest magnitudes of column j in u and v
    above, below = (np.frexp(np.abs(x).max(axis=axis))[1] for x, axis in ((u, 1), (v, 0)))
    shift = (below - above) // 2
    u[:] = np.ldexp(u, shift[:, None])
    v[:] = np.ldexp(v, -shift[None, :])


def to_fp16(task: str, factors: Array) -> Array:
    """`factors` of `task` as fp16; raises TaskError `task.range` where fp16 cannot hold them."""
    with np.errstate(over="ignore"):
        half: Array = factors.astype(np.float16)
    if not np.isfinite(half).all():
        raise TaskError(
            Code.TASK_RANGE,
            f"task {task!r} has factors beyond what fp16 holds: use a base package with fp32 "
            "factors ('osd-edge export base --factors fp32')",
        )
    return half
