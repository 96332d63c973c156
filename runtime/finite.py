"""Refuses results that are not finite, so that no answer is made of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.errors import BaseError, Code, TaskError
from osd_edge.formats.heads import Floats

Mask = NDArray[Any] | None


def check_logits(task: str, logits: Floats, mask: Mask) -> None:
    """Refuses (TaskError `task.not-finite`) logits of `task` that hold NaN or infinity.

    Where every token has logits, those of padding, where `mask` `[batch, tokens]` is 0, may be
    anything.
    """
    if _finite(logits) or (logits.ndim == 3 and _finite_tokens(logits, mask)):
        return
    raise TaskError(
        Code.TASK_NOT_FINITE,
        f"task {task!r} gives NaN or infinity for these inputs: check its base with "
        "'osd-edge verify', else export the task again",
    )


def check_hidden(hidden: Floats, pooled: Floats | None, mask: Mask) -> None:
    """Refuses (BaseError `base.graph`) results of the base alone that hold NaN or infinity.

    Hidden states `[batch, tokens, hidden]` of padding, where `mask` is 0, may be anything.
    """
    if (_finite(hidden) or _finite_tokens(hidden, mask)) and (pooled is None or _finite(pooled)):
        return
    raise BaseError(
        Code.BASE_GRAPH,
        "the base gives NaN or infinity for these inputs: check it with 'osd-edge verify', else "
        "export it again",
    )


def _finite(array: Floats) -> bool:
    return bool(np.isfinite(array).all())


def _finite_tokens(array: Floats, mask: Mask) -> bool:
    return mask is not None and _finite(array[mask != 0])
