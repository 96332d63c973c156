"""Kinds with a score for each label: `labels`, `multi-label` and `regression`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.data.arguments import as_number
from osd_edge.data.example import Example
from osd_edge.formats.heads import Floats, sigmoid, softmax
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request
from osd_edge.runtime.measures.correlation import correlations
from osd_edge.runtime.measures.entities import f1_of_sets
from osd_edge.runtime.measures.right_answers import EXAMPLES, numbers, several_labels


@dataclass(frozen=True)
class Answer:
    """The likeliest label of one text or picture, as `EdgeSession.classify` gives it.

    Attributes:
        label: the label of the highest score.
        score: its score.
        scores: the scores of all labels, in the order of the logits. They add up to 1 where one
            label applies; in a multi-label task each stands for itself, 0 to 1; in a regression
            they are the numbers themselves.

    Example:
        >>> answer = Answer("positive", 0.75, {"negative": 0.25, "positive": 0.75})
        >>> answer.score == answer.scores[answer.label]
        True
    """

    label: str
    score: float
    scores: dict[str, float]

    def chosen(self, least: float = 0.5) -> tuple[str, ...]:
        """Names the labels that apply in a multi-label task.

        Args:
            least: the lowest score of a label that applies.

        Returns:
            The labels of that score or more, in the order of the logits.

        Raises:
            InputError: `input.number` for other than a number.

        Example:
            >>> Answer("joy", 0.9, {"joy": 0.9, "anger": 0.1, "surprise": 0.6}).chosen()
            ('joy', 'surprise')
        """
        lowest = as_number(least, "least")
        return tuple(label for label, score in self.scores.items() if score >= lowest)


class Classifier(Kind):
    """A kind whose answer is the label of the highest score."""

    verb = "classify"
    takes_pairs = True

    def scores(self, logits: Floats) -> Floats:
        """The scores that logits `[batch, labels]` stand for; here the logits themselves."""
        return logits

    def scored(self, labels: Sequence[str], logits: Floats) -> list[Answer]:
        """Makes one answer of each row of `logits` `[batch, labels]`."""
        result = []
        for row in self.scores(logits):
            best = int(row.argmax())
            scores = dict(zip(labels, map(float, row), strict=True))
            result.append(Answer(labels[best], float(row[best]), scores))
        return result

    def answers(self, task: AskedTask, request: Request) -> list[Answer]:
        """Asks about all texts, or pairs of texts, in one batch."""
        inputs = task.encoder(request.texts, request.pairs, max_length=request.max_length)
        return self.scored(task.labels, task.logits(inputs))

    def entries(self, text: str, answer: Answer) -> list[Entry]:
        """One entry, with the scores of all labels beside the answer."""
        return [{"text": text} | asdict(answer)]


class Labels(Classifier):
    """One label of several."""

    name = "labels"
    labelled = True

    def scores(self, logits: Floats) -> Floats:
        """The chance of each label; they add up to 1."""
        return softmax(logits)


class MultiLabel(Classifier):
    """Any labels of several, each for itself."""

    name = "multi-label"

    def scores(self, logits: Floats) -> Floats:
        """The chance that each label applies."""
        return sigmoid(logits)

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples with any number of labels, all of them the task's."""
        named = several_labels(path, examples, labels)
        return tuple(
            replace(example, label=None, labels=sorted(own))
            for example, own in zip(examples, named, strict=True)
        )

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """The labels that apply and those that were chosen."""
        answers = self.asked(task, examples, max_length)
        return [
            (frozenset(example.labels or ()), frozenset(answer.chosen()))
            for example, answer in zip(examples, answers, strict=True)
        ]

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """F1 over all labels of all rows, and the share of rows with all labels right."""
        exact = sum(right == chosen for right, chosen in judged) / len(judged)
        return {**f1_of_sets(judged), "exact_match": exact}


class Regression(Classifier):
    """Numbers, which are the logits themselves."""

    name = "regression"

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples with as many numbers as the task gives."""
        numbers(path, examples, len(labels))
        return tuple(examples)

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """The right numbers and those that were given."""
        right = numbers(EXAMPLES, examples, len(task.labels))
        answers = self.asked(task, examples, max_length)
        return [(own, [*a.scores.values()]) for own, a in zip(right, answers, strict=True)]

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """The correlation with the right numbers; of several, on average."""
        right, given = (np.array(side) for side in zip(*judged, strict=True))
        found = [correlations(given[:, i], right[:, i]) for i in range(right.shape[1])]
        result: dict[str, float | None] = {}
        for name in found[0]:
            own = [one[name] for one in found]
            known = [x for x in own if x is not None]
            result[name] = sum(known) / len(known) if len(known) == len(own) else None
        return result
