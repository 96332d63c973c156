"""The kind `spans`: answers that stand in a context, between a likely start and a likely end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.example import Example
from osd_edge.formats.heads import Floats
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request
from osd_edge.runtime.measures.answer_texts import exact_and_f1
from osd_edge.runtime.measures.right_answers import lacking
from osd_edge.runtime.text import as_texts
from osd_edge.runtime.windows import Run, Windows

_EXCLUDED = -10_000.0  # the logit of a token that is not of the context


@dataclass(frozen=True)
class Span:
    """A part of a text that answers a question, as `EdgeSession.answer` gives it.

    Attributes:
        text: the answer.
        score: the chance of its start times that of its end, added up over the windows that give
            the same text.
        start: where in the text it begins, in characters.
        end: where it ends: the first character that is not of it.

    Example:
        >>> context = "Ada lives in Paris"
        >>> span = Span(text="in Paris", score=0.9, start=10, end=18)
        >>> context[span.start : span.end] == span.text
        True
    """

    text: str
    score: float
    start: int
    end: int


class Spans(Kind):
    """Answers to a question, cut out of the texts."""

    name = "spans"
    verb = "answer"
    takes_question = True

    def answers(self, task: AskedTask, request: Request) -> list[list[Span]]:
        """Finds the likeliest answer to the question in each text, however long."""
        assert request.question is not None  # check_request refuses such a request
        texts = as_texts(request.texts)
        windows = Windows(task.encoder, request.max_length)
        return [find_spans(request.question, text, windows, task.logits) for text in texts]

    def entries(self, text: str, answer: list[Span]) -> list[Entry]:
        """An entry for each span, which is its label."""
        return [
            {"text": text, "label": span.text, "score": span.score}
            | {"start": span.start, "end": span.end}
            for span in answer
        ]

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples of a question, a context and answers, any of which is right."""
        for number, example in enumerate(examples, 1):
            if example.text_pair is None or example.answers is None:
                what = '{"question": …, "context": …, "answers": […]}'
                raise lacking(path, number, example, what)
        return tuple(examples)

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """Exact match and F1 of each answer."""
        windows = Windows(task.encoder, max_length)
        found = []
        for example in examples:
            spans = find_spans(example.text, example.text_pair or "", windows, task.logits)
            given = spans[0].text if spans else ""
            found.append(exact_and_f1(given, example.answers or ()))
        return found

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """Exact match and F1 on average, as SQuAD counts them."""
        exact, f1 = (sum(side) / len(judged) for side in zip(*judged, strict=True))
        return {"exact_match": exact, "f1": f1}


def find_spans(
    question: str, context: str, windows: Windows, run: Run, *, top: int = 1, max_tokens: int = 15
) -> list[Span]:
    """Finds the `top` best answers of at most `max_tokens` tokens, cut at whole words."""
    found: dict[str, Span] = {}
    for window, logits in windows.logits(windows.of_context(question, context), run):
        for first, last, score in _best(window, logits, 2 * top + 10, max_tokens):
            start, end = _characters(window, first, last)
            text = context[start:end]
            earlier = found.get(text)
            if earlier is not None:
                start, end, score = earlier.start, earlier.end, earlier.score + score
            found[text] = Span(text, score, start, end)
    return sorted(found.values(), key=lambda span: -span.score)[:top]


def _best(
    window: Any, logits: Floats, count: int, max_tokens: int
) -> Iterator[tuple[int, int, float]]:
    """Finds the likeliest spans in one window: first token, last token and score of each."""
    allowed = np.array([sequence == 1 for sequence in window.sequence_ids])
    if not allowed.any():  # a tokenizer that makes no tokens of the context
        return
    # The first token is where models point that find no answer: it takes its share of chances.
    softened = allowed.copy()
    softened[0] = True
    chances: NDArray[Any] = np.where(softened[:, None], logits, _EXCLUDED).astype(np.float64)
    chances = np.exp(chances - chances.max(axis=0))
    chances /= chances.sum(axis=0)
    chances[~allowed] = 0
    product = np.tril(np.triu(np.outer(chances[:, 0], chances[:, 1])), max_tokens - 1)
    flat = product.ravel()
    best = np.argsort(-flat, kind="stable")[:count]
    for first, last in zip(*np.unravel_index(best, product.shape), strict=True):
        if allowed[first] and allowed[last] and first <= last < first + max_tokens:
            yield int(first), int(last), float(product[first, last])


def _characters(window: Any, first: int, last: int) -> tuple[int, int]:
    """Where in the context the first token's word begins, and the last one's ends."""
    words = window.token_to_word(first), window.token_to_word(last)
    if None in words:
        return int(window.offsets[first][0]), int(window.offsets[last][1])
    begin, end = (window.word_to_chars(word, 1) for word in words)
    return int(begin[0]), int(end[1])
