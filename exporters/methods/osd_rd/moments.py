"""Second moments M `[n, n]` of what a layer takes or of the gradients of what it gives.

Up to `EXACT` features M is kept whole. A wider one is kept as a sketch: rows R `[m, n]`, each
the sum of some tokens with random signs, so that Rᵀ R is M on average over the signs (count
sketch; Charikar, Chen and Farach-Colton 2002). It takes m n numbers and not n², and adding a
token to it takes n operations and not n².
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch

EXACT = 3072
ROWS = 1024  # of a sketch


@dataclass(frozen=True)
class Sketch:
    """M = Rᵀ R + `damping` I with `rows` R `[m, n]`."""

    rows: torch.Tensor
    damping: float

    def __len__(self) -> int:
        return self.rows.shape[1]


Moment: TypeAlias = "torch.Tensor | Sketch | None"


def times(x: torch.Tensor, moment: Moment) -> torch.Tensor:
    """x M `[k, n]` of rows `x` `[k, n]`; M is the identity where it is None."""
    if moment is None:
        return x
    if isinstance(moment, Sketch):
        return (x @ moment.rows.T) @ moment.rows + moment.damping * x
    return x @ moment


def part(moment: "torch.Tensor | Sketch", start: int, end: int) -> torch.Tensor:
    """M between `start` and `end`, in both directions."""
    if isinstance(moment, Sketch):
        rows = moment.rows[:, start:end]
        return rows.T @ rows + moment.damping * torch.eye(end - start)
    return moment[start:end, start:end]


class RunningMoment:
    """The sum of x xᵀ over tokens x that come batch by batch."""

    def __init__(self, seed: int = 0) -> None:
        """Nothing yet; `seed` draws the signs of a sketch."""
        self._seed = seed
        self._whole: torch.Tensor | None = None
        self._rows: torch.Tensor | None = None
        self._tokens = 0

    def add(self, x: torch.Tensor) -> None:
        """Take in tokens `[tokens, n]`."""
        if x.shape[1] <= EXACT:
            self._whole = x.T @ x if self._whole is None else self._whole.addmm_(x.T, x)
        else:
            if self._rows is None:
                self._rows = x.new_zeros(ROWS, x.shape[1])
                self._random = torch.Generator().manual_seed(self._seed)
            signs = torch.randint(2, (len(x), 1), generator=self._random).to(x.dtype) * 2 - 1
            rows = (self._tokens + torch.arange(len(x))) % ROWS
            self._rows.index_add_(0, rows, x * signs)
        self._tokens += len(x)

    def normalized(self, damping: float) -> "tuple[torch.Tensor | Sketch, float] | None":
        """M with mean diagonal 1, and `damping` times I added; and its mean diagonal before.

        None without tokens. What was added up is given away.
        """
        if not self._tokens:
            return None
        if self._rows is not None:
            rows, self._rows = self._rows, None
            mean = max(float(rows.square().sum()) / rows.shape[1] / self._tokens, 1e-30)
            return Sketch(rows.div_((mean * self._tokens) ** 0.5), damping), mean
        assert self._whole is not None
        whole, self._whole = self._whole.div_(self._tokens), None
        mean = max(float(whole.diagonal().mean()), 1e-30)
        return whole.div_(mean).add_(damping * torch.eye(len(whole))), mean
