"""What a task says of texts, whatever its kind, as rows for people and programs."""

from collections.abc import Sequence

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.kinds import KINDS, Row


def answer_rows(
    session: EdgeSession,
    task: str,
    texts: Sequence[str],
    *,
    question: str | None = None,
    max_length: int | None = None,
) -> list[Row]:
    """Asks `task` about texts and lists its answers, with `task`, `text`, `label` and `score`.

    Raises InputError `input.question` where a task that finds answers is asked nothing.
    """
    kind = KINDS[session.kind(task)]
    answers = session.ask(texts, task=task, question=question, max_length=max_length)
    return [
        {"task": task} | row
        for text, answer in zip(texts, answers, strict=True)
        for row in kind.rows(text, answer)
    ]


def table_row(row: Row) -> tuple[str, str, str, str]:
    """Text, task, label and score for a table."""
    label = f"{row['label']}: {row['part']}" if "part" in row else row["label"]
    score = "" if row["score"] is None else f"{row['score']:.3f}"
    return row["text"], row["task"], label, score
