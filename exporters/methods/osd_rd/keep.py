"""`--keep`: the smallest file that keeps a share of what fine-tuning gained."""

import math
from collections.abc import Callable
from typing import TypeVar

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import BudgetError, Code
from osd_edge.exporters.methods.gain import CurvePoint

_SMALLEST, _LARGEST = 4096, 1 << 20  # bytes
_BISECTIONS = 2  # once a size is known that keeps enough, and half of it does not

T = TypeVar("T")


def smallest_that_keeps(
    keep: float, attempt: Callable[[int], tuple[T, CurvePoint] | None], progress: Progress = silent
) -> tuple[T, list[CurvePoint]]:
    """Searches the smallest size that keeps `keep`; gives what was made, and all that was tried.

    Sizes double from 4 KiB until one keeps enough, then the last interval is halved twice.
    `attempt(size)` is None where nothing fits. Raises BudgetError `budget.keep` where not even
    1 MiB keeps enough.
    """
    curve: list[CurvePoint] = []
    best: T | None = None
    low, high = _SMALLEST / 2, float(_SMALLEST)
    bisected = 0
    for _ in progress(range(9 + _BISECTIONS), f"Searching the size that keeps {keep:.0%}"):
        if bisected > _BISECTIONS or high > _LARGEST:
            continue  # the bar runs to its end
        size = high if best is None else math.sqrt(low * high)
        made = attempt(int(size))
        if made is not None:
            curve.append(made[1])
        if made is not None and made[1].share >= keep:
            best, high = made[0], size
        elif best is None:
            low, high = high, 2 * high
            if made is not None and made[1].size < size / 2:
                break  # all that there is to keep is in the file, and it is not enough
        else:
            low = size
        bisected += best is not None
    if best is None:
        shares = ", ".join(f"{point.size} bytes keep {point.share:.0%}" for point in curve)
        raise BudgetError(
            Code.BUDGET_KEEP,
            f"no file up to {_LARGEST} bytes keeps {keep:.0%} of the gain: {shares}. "
            "Ask for less with --keep, or give --budget",
        )
    return best, sorted(curve, key=lambda point: point.size)
