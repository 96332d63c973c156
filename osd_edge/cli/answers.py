"""What a task says of texts, whatever its kind, as rows for people and programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from osd_edge.errors import Code, InputError

if TYPE_CHECKING:
    from osd_edge.runtime import EdgeSession

Row = dict[str, Any]


def answer_rows(
    session: "EdgeSession",
    task: str,
    texts: Sequence[str],
    *,
    question: str | None = None,
    max_length: int | None = None,
) -> list[Row]:
    """A row for each text, or for each of its tags, with `task`, `text`, `label` and `score`.

    Raises InputError `input.question` where a task that finds answers is asked nothing.
    """
    kind = session.kind(task)
    if kind == "spans":
        if question is None:
            raise InputError(Code.INPUT_QUESTION, f"task {task!r} finds answers: give --question")
        found = [
            (text, session.answer(question, text, task=task, max_length=max_length))
            for text in texts
        ]
        return [
            {"task": task, "text": text, "label": span.text, "score": span.score}
            | {"start": span.start, "end": span.end}
            for text, spans in found
            for span in spans
        ]
    if kind == "token-labels":
        tagged = session.tag(texts, task=task, max_length=max_length)
        return [
            {"task": task} | asdict(tag) | {"part": tag.text, "text": text}
            for text, tags in zip(texts, tagged, strict=True)
            for tag in tags
        ]
    if kind == "embedding":
        vectors = session.embed(texts, task=task, max_length=max_length)
        return [
            {"task": task, "text": text, "label": f"{len(vector)} numbers", "score": None}
            | {"vector": vector.tolist()}
            for text, vector in zip(texts, vectors, strict=True)
        ]
    answers = session.classify(texts, task=task, max_length=max_length)
    return [
        {"task": task, "text": text} | asdict(answer)
        for text, answer in zip(texts, answers, strict=True)
    ]


def table_row(row: Row) -> tuple[str, str, str, str]:
    """Text, task, label and score for a table."""
    label = f"{row['label']}: {row['part']}" if "part" in row else row["label"]
    score = "" if row["score"] is None else f"{row['score']:.3f}"
    return row["text"], row["task"], label, score
