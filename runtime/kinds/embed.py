"""The kind `embedding`: a vector for a text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.data.example import Example
from osd_edge.errors import Code, DataError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request
from osd_edge.runtime.measures.correlation import correlations
from osd_edge.runtime.measures.retrieval import cosines, recalls
from osd_edge.runtime.measures.right_answers import EXAMPLES, lacking, numbers


class Embedding(Kind):
    """A vector for each text: the logits are its numbers."""

    name = "embedding"
    verb = "embed"

    def answers(self, task: AskedTask, request: Request) -> list[Floats]:
        """Vectors `[features]` of all texts, in one batch."""
        return list(task.logits(task.encoder(request.texts, max_length=request.max_length)))

    def entries(self, text: str, answer: Floats) -> list[Entry]:
        """One entry, with the vector's numbers; its label says how many there are."""
        described = {"text": text, "label": f"{len(answer)} numbers", "score": None}
        return [described | {"vector": answer.tolist()}]

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples that are pairs, all with a number that says how alike they are, or none."""
        for number, example in enumerate(examples, 1):
            if example.text_pair is None:
                raise lacking(path, number, example, "a text_pair, or sentence1 and sentence2")
        if any(example.label is not None for example in examples):
            numbers(path, examples, 1)
        elif len(examples) < 2:
            raise DataError(
                Code.DATA_EMPTY, f"{path} has one pair: expected several to find it among"
            )
        return tuple(examples)

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """Both vectors of each pair, with its example."""
        first, second = (
            self.answers(task, Request(texts, max_length=max_length))
            for texts in ([e.text for e in examples], [e.text_pair or "" for e in examples])
        )
        return list(zip(first, second, examples, strict=True))

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """The correlation of cosines with the right numbers, or else how often pairs find theirs.

        A text's own second text is looked for among all second ones.
        """
        first, second = (np.stack([row[side] for row in judged]) for side in (0, 1))
        examples = [row[2] for row in judged]
        if examples[0].label is not None:
            right = [row[0] for row in numbers(EXAMPLES, examples, 1)]
            return correlations(cosines(first, second), right)
        return {**recalls(first, second, [e.text_pair for e in examples])}
