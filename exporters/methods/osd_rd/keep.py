"""`--keep`: the smallest file that keeps a share of what fine-tuning gained."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from osd_edge.data.progress import Progress, silent
from osd_edge.errors import BudgetError, Code

_SMALLEST, _LARGEST = 4096, 1 << 20  # bytes
_BISECTIONS = 2  # once a size is known that keeps enough, and half of it does not

T = TypeVar("T")


@dataclass(frozen=True)
class CurvePoint:
    """A size that was tried: bytes, accuracy on held-back rows, and the share of the gain."""

    size: int
    accuracy: float
    share: float


@dataclass(frozen=True)
class Gain:
    """What fine-tuning gained on `rows` held-back rows: accuracies of the floor and the ceiling."""

    floor: float
    ceiling: float
    rows: int

    def share(self, accuracy: float) -> float:
        """The share of the gain that this accuracy keeps; below 0 where it is under the floor."""
        return (accuracy - self.floor) / (self.ceiling - self.floor)

    def error(self, accuracy: float) -> float:
        """Standard error of the share that this accuracy keeps, from its binomial one.

        Never less than that of one row in `rows`. Floor and ceiling are on the same rows, which
        makes the truth somewhat smaller.
        """
        p = min(max(accuracy, 1 / self.rows), 1 - 1 / self.rows)
        return math.sqrt(p * (1 - p) / self.rows) / (self.ceiling - self.floor)


def smallest_that_keeps(
    keep: float, attempt: Callable[[int], tuple[T, CurvePoint] | None], progress: Progress = silent
) -> tuple[T, list[CurvePoint]]:
    """What `attempt` makes at the smallest size that keeps `keep`, and all that was tried.

    Sizes double from 4 KiB until one keeps enough, then the last interval is to_fp16 twice.
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
            f"no file up to {_LARGEST} bytes keeps {keep:.0%} of the gain: {shares}",
        )
    return best, sorted(curve, key=lambda point: point.size)
