"""Lists the answers of a task of any kind, for programs and for people."""

from collections.abc import Sequence

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.kinds import KINDS, Entry


def answer_entries(
    session: EdgeSession,
    task: str,
    texts: Sequence[str],
    *,
    question: str | None = None,
    max_length: int | None = None,
) -> list[Entry]:
    """Asks `task` about texts and lists its answers, with `task`, `text`, `label` and `score`.

    Raises InputError `input.question` where a task that finds answers is asked nothing.
    """
    kind = KINDS[session.kind(task)]
    answers = session.ask(texts, task=task, question=question, max_length=max_length)
    return [
        {"task": task} | entry
        for text, answer in zip(texts, answers, strict=True)
        for entry in kind.entries(text, answer)
    ]


def table_row(entry: Entry) -> tuple[str, str, str, str]:
    """Makes a table's row of an entry: text, task, label and score."""
    label = f"{entry['label']}: {entry['part']}" if "part" in entry else entry["label"]
    score = "" if entry["score"] is None else f"{entry['score']:.3f}"
    return entry["text"], entry["task"], label, score
