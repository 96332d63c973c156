"""Measures the accuracy of a loaded task on labelled examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from osd_edge.data.arguments import expect, expect_callable
from osd_edge.data.examples import Example, check_pairs, expect_examples
from osd_edge.data.progress import Progress, silent
from osd_edge.errors import Code, DataError
from osd_edge.runtime.kinds import KINDS
from osd_edge.runtime.session import EdgeSession

_BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """The share of examples that a task answers right.

    Attributes:
        task: the task.
        accuracy: the share of examples that it answers right, 0 to 1.
        examples: how many examples there were.

    Example:
        >>> round(Evaluation("mr", accuracy=0.75, examples=24).accuracy * 24)
        18
    """

    task: str
    accuracy: float
    examples: int


def evaluate(
    session: EdgeSession,
    task: str,
    examples: Sequence[Example],
    *,
    max_length: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measures how many labelled examples a task answers right; the active task stays as it is.

    Args:
        session: a session in which the task is loaded.
        task: a loaded task of one label.
        examples: labelled examples, one or more; all of them pairs of texts, or none.
        max_length: the most tokens of a text or pair, where they are fewer than the task and the
            base take.
        progress: shows how far it is: wraps the batches, and takes a few words.

    Returns:
        The share that is right.

    Raises:
        DataError: `data.empty` without examples, `data.unlabelled` where an example has no label,
            `data.pairs` for pairs of texts beside single ones.
        InputError: `input.type` for a session, examples or a progress that are none,
            `input.max-length`.
        TaskError: `task.kind` for a task whose right answer is not one label, `task.unknown`.

    Example:
        >>> from osd_edge import Example
        >>> session = EdgeSession("minilm")
        >>> session.load("mr.osd.safetensors")
        'mr'
        >>> evaluate(session, "mr", [Example("a dull film", "negative")])
        Evaluation(task='mr', accuracy=..., examples=1)
    """
    kind = KINDS[expect(session, EdgeSession, "session").kind(task)]
    examples = tuple(expect_examples(examples))
    expect_callable(progress, "progress")
    kind.check_labelled(task)
    if not examples:
        raise DataError(Code.DATA_EMPTY, "accuracy needs examples: found none")
    if any(example.label is None for example in examples):
        raise DataError(Code.DATA_UNLABELLED, "accuracy needs labelled examples: a .tsv file")
    check_pairs({"the test set": examples})
    # Texts of like length share a batch, so that little is padding.
    order = sorted(examples, key=lambda e: len(e.text) + len(e.text_pair or ""))
    batches = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    right = 0
    for batch in progress(batches, f"Evaluating {task}"):
        pairs = None
        if batch[0].text_pair is not None:
            pairs = [example.text_pair or "" for example in batch]
        answers = session.ask(
            [example.text for example in batch], pairs, task=task, max_length=max_length
        )
        right += sum(
            kind.is_right(answer, example.label or "")
            for answer, example in zip(answers, batch, strict=True)
        )
    return Evaluation(task, right / len(examples), len(examples))
