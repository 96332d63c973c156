"""The contract of a kind of task on the device: how it answers, and what its answers are.

A kind is asked by `EdgeSession.ask`, shown by `osd-edge run` and scored by `evaluate`, none of
which knows its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import described
from osd_edge.data.example import Example
from osd_edge.data.labels import with_known_labels
from osd_edge.errors import Code, InputError, TaskError
from osd_edge.runtime.text import TextEncoder, Texts
from osd_edge.runtime.windows import Run

Entry = dict[str, Any]  # of a list of answers: plain values by name


@dataclass(frozen=True)
class AskedTask:
    """A task while it is asked: its labels, an encoder of its texts, and a run of the base with it.

    `logits` takes token inputs `[batch, tokens]` and gives `[batch, labels]`, or
    `[batch, tokens, labels]` for kinds with logits for every token. `write` gives the texts that
    the task writes to texts.
    """

    name: str
    labels: tuple[str, ...]
    encoder: TextEncoder
    logits: Run
    write: Callable[[Texts], list[Any]]


@dataclass(frozen=True)
class Request:
    """A request to a task: texts, and what goes with them.

    `pairs` holds a second text for each, `question` is what is looked for in all of them, and
    `max_length` is in tokens, None for as many as the task and the base take.
    """

    texts: Texts
    pairs: Texts | None = None
    question: str | None = None
    max_length: int | None = None


class Kind(ABC):
    """One kind of task: how it answers, how its answers are listed, and which of them are right.

    `verb` names the method of the session that asks tasks of the kind. `takes_pairs` and
    `takes_question` say what it has a use for beside texts. Where the kind is `labelled`, the
    right answer to a text may be given as one label.
    """

    name: str
    verb: str = "ask"
    takes_pairs: bool = False
    takes_question: bool = False
    labelled: bool = False

    @abstractmethod
    def answers(self, task: AskedTask, request: Request) -> list[Any]:
        """Asks `task`, of this kind, and gives one answer for each text."""

    @abstractmethod
    def entries(self, text: str, answer: Any) -> list[Entry]:
        """Lists the answer to `text` as plain values, for JSON and tables.

        Every entry has `text`, `label` and `score` (None where there is none); one about a part of
        the text has that as `part`.
        """

    def check_request(self, task: str, request: Request) -> None:
        """Refuses a request without the question that the kind needs, or with pairs it cannot take.

        Raises InputError `input.question`, `input.texts`.
        """
        if not isinstance(request.question, str | None):
            raise InputError(
                Code.INPUT_QUESTION, f"expected a question, found {described(request.question)}"
            )
        if self.takes_question and request.question is None:
            raise InputError(
                Code.INPUT_QUESTION,
                f"question: task {task!r} looks in each text for the answer to one: give it "
                "(--question)",
            )
        if request.pairs is not None and not self.takes_pairs:
            raise InputError(
                Code.INPUT_TEXTS,
                f"pairs: expected no second texts, since task {task!r} is {self.name}",
            )

    def check_scored(self, task: str) -> None:
        """Refuses a task of a kind that has no score: TaskError `task.kind`."""
        if type(self).judged is Kind.judged and not self.labelled:
            raise TaskError(Code.TASK_KIND, f"{task!r} is {self.name}, which has no score")

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples of `path` with the right answers as `judged` needs them, of a task of `labels`.

        Raises DataError, which names the row that has none.
        """
        return with_known_labels(path, examples, labels)

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """Asks about `examples` and holds each answer against the right one; one item a row."""
        answers = self.asked(task, examples, max_length)
        return [self.is_right(a, e.label or "") for a, e in zip(answers, examples, strict=True)]

    def asked(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> list[Any]:
        """Asks about all examples, whatever their right answers are."""
        pairs = None
        if examples[0].text_pair is not None:
            pairs = [example.text_pair or "" for example in examples]
        request = Request([example.text for example in examples], pairs, max_length=max_length)
        self.check_request(task.name, request)
        return self.answers(task, request)

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """The scores of all rows that were judged; None for one that they do not have."""
        return {"accuracy": sum(judged) / len(judged)}

    def is_right(self, answer: Any, label: str) -> bool:
        """Says whether an answer is the one that an example's `label` asks for."""
        return bool(answer.label == label)
