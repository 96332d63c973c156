"""Fitting a peer: the largest candidate that a budget holds, and its divergence on a sample."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from osd_edge.data.sizes import format_size
from osd_edge.errors import BudgetError, Code
from osd_edge.exporters.compare.peers.peer import Compressed, Restored
from osd_edge.exporters.kinds import KINDS
from osd_edge.exporters.methods.budget import Budget, layer_bits
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import LinearLayer
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.weight_sets import TUNED, Dense

_SAMPLE = 64  # rows


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


class Sample:
    """A sample of the calibration rows, on which a peer may choose a scalar."""

    def __init__(self, source: Source) -> None:
        """Take every so manieth row, and the fine-tuned model's logits on them."""
        assert source.model is not None
        self._model = source.model
        self._kind = KINDS[source.models.head.kind]
        step = max(1, len(source.examples) // _SAMPLE)
        self._batches = batches_of(source.models, source.examples[::step][:_SAMPLE])
        with self._model.at(TUNED) as module:
            self._reference = self._logits(module)

    def divergence(self, restored: Restored) -> float:
        """KL in nats from the fine-tuned model: of a row, of a task that writes of a token."""
        with self._model.at(Dense(restored.deltas, restored.head)) as module:
            given = self._logits(module)
        masks = [batch.mask for batch in self._batches]
        total, count = self._kind.summed_loss(given, self._reference, masks)
        return total / count

    def _logits(self, module: Any) -> list[Any]:
        with torch.inference_mode():
            return [module(**batch.tokens).logits.float() for batch in self._batches]
