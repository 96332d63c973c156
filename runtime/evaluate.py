"""Scores a loaded task on examples with their right answers, as the field scores its kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osd_edge.data.arguments import expect, expect_callable
from osd_edge.data.examples import Example, check_pairs, expect_examples
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError
from osd_edge.runtime.kinds import KINDS
from osd_edge.runtime.measures.right_answers import EXAMPLES
from osd_edge.runtime.session import EdgeSession

_BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """The scores of a task on examples.

    Attributes:
        task: the task.
        accuracy: the share of examples that it answers right, 0 to 1; None for a kind that is
            scored otherwise.
        examples: how many examples there were.
        scores: the scores of its kind by name: `accuracy`; `f1`, `precision` and `recall` of
            entities or labels; `exact_match`; `pearson` and `spearman`, -1 to 1, None where the
            examples are all alike; `recall@1`, `recall@10` and `mean_reciprocal_rank`.

    Example:
        >>> round(Evaluation("mr", accuracy=0.75, examples=24).accuracy * 24)
        18
    """

    task: str
    accuracy: float | None
    examples: int
    scores: Mapping[str, float | None] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Name the accuracy among the scores."""
        if not self.scores:
            object.__setattr__(self, "scores", {"accuracy": self.accuracy})

    def as_dict(self) -> dict[str, Any]:
        """Gives the evaluation as plain data.

        Returns:
            The task, its scores by name, and how many examples there were.

        Example:
            >>> Evaluation("mr", accuracy=0.75, examples=24).as_dict()
            {'task': 'mr', 'accuracy': 0.75, 'examples': 24}
        """
        return {"task": self.task, **self.scores, "examples": self.examples}


def evaluate(
    session: EdgeSession,
    task: str,
    examples: Sequence[Example],
    *,
    max_length: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Scores a task on examples with right answers; the active task stays as it is.

    A tagger's score is the F1 of its entities as seqeval counts it, a regression's the correlation
    with the right numbers, that of a task that finds answers SQuAD's exact match and F1, and an
    embedding's the correlation of cosines, or where pairs have no label how often a text finds its
    pair. docs/rows.md has the form of the examples of each kind.

    Args:
        session: a session in which the task is loaded.
        task: a loaded task, of any kind but one that generates text.
        examples: examples with right answers, one or more; all of them pairs of texts, or none.
        max_length: the most tokens of a text or pair, where they are fewer than the task and the
            base take.
        progress: shows how far it is: wraps the batches, and takes a few words.

    Returns:
        The scores.

    Raises:
        DataError: `data.empty` without examples, `data.unlabelled` where an example has no right
            answer of the task's kind, `data.label` where it has one that the task cannot give,
            `data.pairs` for pairs of texts beside single ones.
        InputError: `input.type` for a session, examples or a progress that are none,
            `input.max-length`.
        TaskError: `task.kind` for a task that generates text, `task.unknown`.

    Example:
        >>> from osd_edge import Example
        >>> session = EdgeSession("minilm")
        >>> session.load("mr.osd.safetensors")
        'mr'
        >>> evaluate(session, "mr", [Example("a dull film", "negative")]).as_dict()
        {'task': 'mr', 'accuracy': ..., 'examples': 1}
    """
    kind = KINDS[expect(session, EdgeSession, "session").kind(task)]
    given = tuple(expect_examples(examples))
    expect_callable(progress, "progress")
    kind.check_scored(task)
    if not given:
        raise DataError(Code.DATA_EMPTY, "a score needs examples: found none")
    check_pairs({"the test set": given})
    given = kind.with_right_answers(EXAMPLES, session.labels(task), given)
    # Texts of like length share a batch, so that little is padding.
    order = sorted(given, key=lambda e: len(e.text) + len(e.text_pair or ""))
    batches = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    judged: list[Any] = []
    for batch in progress(batches, f"Evaluating {task}"):
        judged += session._judged(task, batch, max_length)
    scores = kind.total(judged)
    return Evaluation(task, scores.get("accuracy"), len(given), scores)
