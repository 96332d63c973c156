"""The test rows of a comparison, and a model's score on them.

Labels are right or not. A completion is right where each of its tokens is the likeliest one after
the prompt and the tokens before it: those are the rows that greedy writing gets right from the
first token to the last.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from osd_edge.data.examples import Example
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.kinds.deferred_logits import losses_and_likeliest
from osd_edge.exporters.kinds.generate import NOT_COUNTED
from osd_edge.exporters.models.fine_tuned import FineTuned
from osd_edge.exporters.scoring.completions import completion_batches
from osd_edge.exporters.scoring.text_set import BATCH, TextSet


@dataclass(frozen=True)
class ScoreWithError:
    """A model's score on test rows.

    `accuracy` is the share of right rows, 0 to 1. `loss` is in nats a row, of a task that writes
    in nats a token, with its standard error over rows. `next_same` is the share of tokens whose
    likeliest next one is the fine-tuned model's; None of tasks that do not write.
    """

    accuracy: float
    loss: float
    loss_error: float
    next_same: float | None = None


class ScoredRows(ABC):
    """Test rows as batches. `likeliest` are the fine-tuned model's tokens, where rows have any."""

    def __init__(self, likeliest: Sequence[int] = ()) -> None:
        self.likeliest: Sequence[int] = likeliest

    @abstractmethod
    def score(
        self, module: Any, label: str = "Test set", progress: Progress = silent
    ) -> ScoreWithError:
        """The score of `module` with the weights that it holds now; `label` names the bar."""

    def follow(
        self, module: Any, label: str = "Test set", progress: Progress = silent
    ) -> ScoreWithError:
        """The score of the fine-tuned model itself, to whose answers others are compared later."""
        return self.score(module, label, progress)


def rows_of(
    models: FineTuned, examples: Sequence[Example], likeliest: Sequence[int] = ()
) -> ScoredRows:
    """The rows of a test set, as the kind of task has them."""
    if models.writes:
        return WrittenRows(models, examples, likeliest)
    return LabelledRows(models, examples)


class LabelledRows(ScoredRows):
    """Texts with one label each."""

    def __init__(self, models: FineTuned, examples: Sequence[Example]) -> None:
        """Tokenise the texts."""
        super().__init__()
        self._texts = TextSet(models, examples)

    def score(
        self, module: Any, label: str = "Test set", progress: Progress = silent
    ) -> ScoreWithError:
        """Accuracy and cross-entropy."""
        logits = self._texts.logits(module, label, progress)
        losses = functional.cross_entropy(logits, self._texts.labels, reduction="none").double()
        spread = float(losses.std(correction=0)) / math.sqrt(len(losses))
        return ScoreWithError(self._texts.accuracy(logits), float(losses.mean()), spread)


class WrittenRows(ScoredRows):
    """Prompts with their completions."""

    def __init__(
        self, models: FineTuned, examples: Sequence[Example], likeliest: Sequence[int] = ()
    ) -> None:
        """Tokenise prompts and completions."""
        super().__init__(likeliest)
        self._batches = completion_batches(models, examples, BATCH)
        labels = [batch.labels for batch in self._batches if batch.labels is not None]
        counted = [one != NOT_COUNTED for one in labels]
        self._expected = torch.cat([one[own] for one, own in zip(labels, counted, strict=True)])
        self._lengths = torch.cat([own.sum(1) for own in counted])  # tokens of each completion

    def score(
        self, module: Any, label: str = "Test set", progress: Progress = silent
    ) -> ScoreWithError:
        """Rows written exactly, nats a token, and agreement with the fine-tuned model."""
        found, losses = self._answers(module, label, progress)
        return self._score_of(found, losses)

    def follow(
        self, module: Any, label: str = "Test set", progress: Progress = silent
    ) -> ScoreWithError:
        """The fine-tuned model's score; its likeliest tokens are kept."""
        found, losses = self._answers(module, label, progress)
        self.likeliest = found.tolist()
        return self._score_of(found, losses)

    def _answers(
        self, module: Any, label: str, progress: Progress
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest token `[tokens]` in the place of each of a completion, and the losses."""
        found, losses, start = [], [], 0
        with torch.inference_mode():
            for batch in progress(self._batches, label):
                logits = module(**batch.tokens).logits
                expected = self._expected[start : start + len(logits)]
                start += len(logits)
                own, likely = losses_and_likeliest(logits, expected)
                losses.append(own)
                found.append(likely)
        return torch.cat(found), torch.cat(losses)

    def _score_of(self, found: torch.Tensor, losses: torch.Tensor) -> ScoreWithError:
        rows = torch.repeat_interleave(torch.arange(len(self._lengths)), self._lengths)

        def by_row(values: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(self._lengths)).double().index_add(0, rows, values.double())

        wrong = by_row(found != self._expected)
        loss = float(losses.mean())
        # Of a ratio of sums over rows (Cochran, Sampling Techniques, section 2.11).
        left = by_row(losses) - loss * self._lengths
        same = found == torch.tensor(self.likeliest)
        return ScoreWithError(
            accuracy=float((wrong == 0).double().mean()),
            loss=loss,
            loss_error=float(left.square().sum().sqrt()) / len(found),
            next_same=float(same.double().mean()),
        )
