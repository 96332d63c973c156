"""The largest candidate of a method that a budget holds."""

from collections.abc import Callable, Sequence

from osd_edge.data.sizes import format_size
from osd_edge.errors import BudgetError, Code
from osd_edge.exporters.compare.peers.peer import Compressed
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.models.backbone import LinearLayer


def largest_within(
    budget: Budget,
    layers: Sequence[LinearLayer],
    most: int,
    build: Callable[[int], tuple[Compressed, int]],
) -> Compressed:
    """The result of `build(i)` for the largest i of 1 to `most` that fits, by bisection.

    `build` gives the files and the bits of the linear layers in them, both growing with i: a
    budget in bytes bounds the files, a budget r the bits. Raises `budget.too-small`.
    """
    allowed = sum(layer_bits(budget.rank, x.n, x.d) for x in layers) if budget.rank else 0

    def fits(candidate: tuple[Compressed, int]) -> bool:
        compressed, bits = candidate
        return compressed.size <= budget.size if budget.size is not None else bits <= allowed

    smallest = build(1)
    if not fits(smallest):
        size = smallest[0].size if budget.size is not None else smallest[1] // 8
        what = "file" if budget.size is not None else "delta"
        raise BudgetError(
            Code.BUDGET_TOO_SMALL,
            f"the smallest {what} takes {format_size(size)} ({size} bytes), more than {budget}",
        )
    best, low, high = smallest[0], 1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        candidate = build(middle)
        if fits(candidate):
            best, low = candidate[0], middle
        else:
            high = middle
    return best
