"""The kind `token-labels`: tags of a text, the parts of it to which a label applies."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.data.example import Example
from osd_edge.formats.heads import Floats, softmax
from osd_edge.runtime.kinds.base import AskedTask, Entry, Kind, Request
from osd_edge.runtime.measures.entities import BEGINS, ENDS, OUTSIDE, entities_of, f1_of_sets
from osd_edge.runtime.measures.right_answers import with_known_tags
from osd_edge.runtime.text import as_texts
from osd_edge.runtime.windows import Run, Windows


@dataclass(frozen=True)
class Tag:
    """A part of a text to which a label applies, as `EdgeSession.tag` gives it.

    Attributes:
        label: the label, without the B-, I-, E- or S- that it may begin with.
        score: the chance of the label, 0 to 1, on average over the part's tokens.
        start: where in the text the part begins, in characters.
        end: where it ends: the first character that is not of it.
        text: the part itself.

    Example:
        >>> text = "Ada lives in Paris"
        >>> tag = Tag(label="PLACE", score=0.98, start=13, end=18, text="Paris")
        >>> text[tag.start : tag.end] == tag.text
        True
    """

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Token:
    """A token in its text: its characters, the word it is of, and the scores of all labels."""

    start: int
    end: int
    word: int | None
    scores: Floats


class TokenLabels(Kind):
    """One label of several for each token, merged into tags."""

    name = "token-labels"
    verb = "tag"

    def answers(self, task: AskedTask, request: Request) -> list[list[Tag]]:
        """Tags each text, however long."""
        texts = as_texts(request.texts)
        windows = Windows(task.encoder, request.max_length)
        return [find_tags(text, windows, task.logits, task.labels) for text in texts]

    def entries(self, text: str, answer: list[Tag]) -> list[Entry]:
        """An entry for each tag, whose own text is its part."""
        return [asdict(tag) | {"part": tag.text, "text": text} for tag in answer]

    def with_right_answers(
        self, path: Path, labels: Sequence[str], examples: Sequence[Example]
    ) -> tuple[Example, ...]:
        """Examples with a tag for each word, or with parts that have a label."""
        return with_known_tags(path, examples, labels, [label for _, label in marks_of(labels)])

    def judged(
        self, task: AskedTask, examples: Sequence[Example], max_length: int | None
    ) -> Sequence[Any]:
        """The entities of each text, and those that were found; a word's first token is its tag."""
        windows = Windows(task.encoder, max_length)
        found: list[Any] = []
        for example in examples:
            if example.words is not None:
                tags = find_word_labels(example.words, windows, task.logits, task.labels)
                found.append((entities_of(example.tags or ()), entities_of(tags)))
            else:
                tagged = find_tags(example.text, windows, task.logits, task.labels, words=True)
                right = {(label, start, end) for start, end, label in example.parts or ()}
                found.append((right, {(tag.label, tag.start, tag.end) for tag in tagged}))
        return found

    def total(self, judged: Sequence[Any]) -> dict[str, float | None]:
        """F1 over all entities, as seqeval counts it."""
        return {**f1_of_sets(judged)}


def find_tags(
    text: str, windows: Windows, run: Run, labels: Sequence[str], *, words: bool = False
) -> list[Tag]:
    """Finds the tags of `text`, in order.

    Tokens next to each other with the same label are one tag, unless the second begins with B- or
    S-, or the first with E- or S-. With `words` the first token of a word speaks for all of it. A
    token in two windows is judged where it has more text around it.
    """
    tokens = _tokens(windows.logits(windows.of_text(text), run))
    groups = [[token] for token in tokens]
    if words:
        groups = _by_word(tokens)
    marks = marks_of(labels)
    merged: list[tuple[str, list[float], int, int]] = []
    before = ""
    word: int | None = None
    for group in groups:
        best = int(group[0].scores.argmax())
        score = float(group[0].scores[best])
        mark, label = marks[best]
        # What ends with a word does not end within it; what begins does, as in transformers.
        within = word is not None and group[0].word == word
        joins = mark != "B" if within else mark not in BEGINS and before not in ENDS
        before, word = mark, group[-1].word
        if joins and merged and merged[-1][0] == label:
            _, scores, start, _ = merged.pop()
            merged.append((label, [*scores, score], start, group[-1].end))
        else:
            merged.append((label, [score], group[0].start, group[-1].end))
    return [
        Tag(label, float(np.mean(scores)), start, end, text[start:end])
        for label, scores, start, end in merged
        if label != OUTSIDE
    ]


def find_word_labels(
    words: Sequence[str], windows: Windows, run: Run, labels: Sequence[str]
) -> list[str]:
    """The label of each word, which is that of its first token; O for one without any."""
    tokens = _tokens(windows.logits(windows.of_text(" ".join(words)), run))
    found, start, nth = [], 0, 0
    for word in words:
        end = start + len(word)
        while nth < len(tokens) and tokens[nth].end <= start:
            nth += 1
        within = nth < len(tokens) and tokens[nth].start < end
        found.append(labels[int(tokens[nth].scores.argmax())] if within else OUTSIDE)
        start = end + 1
    return found


def _tokens(windows: Iterator[tuple[Any, Floats]]) -> list[_Token]:
    """Collects the tokens of all windows, each once, in the order of the text."""
    found: dict[tuple[int, int, int], tuple[int, _Token]] = {}
    for window, logits in windows:
        scores = softmax(logits)
        inside = [i for i, special in enumerate(window.special_tokens_mask) if not special]
        met: dict[tuple[int, int], int] = {}
        for nth_token, i in enumerate(inside):
            start, end = window.offsets[i]
            nth = met[start, end] = met.get((start, end), -1) + 1  # tokens of the same characters
            context = min(nth_token, len(inside) - 1 - nth_token)
            token = _Token(start, end, window.word_ids[i], scores[i])
            if found.get((start, end, nth), (-1, token))[0] < context:
                found[start, end, nth] = context, token
    return [found[key][1] for key in sorted(found)]


def _by_word(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Groups tokens that are next to each other and of one word."""
    groups: list[list[_Token]] = []
    for token in tokens:
        if groups and token.word is not None and groups[-1][-1].word == token.word:
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups


def marks_of(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Splits each label that has one of the marks B, I, E and S: `B-PER` into B and PER.

    A label of another form is taken as one of I. E and S count where B or I of the same label is
    there too: a label may be called E-MAIL.
    """
    found, known_labels = [], set(labels)
    for whole in labels:
        mark, dash, label = whole[:1], whole[1:2], whole[2:]
        known = mark in ("B", "I") or (
            mark in ("E", "S") and not {f"B-{label}", f"I-{label}"}.isdisjoint(known_labels)
        )
        found.append((mark, label) if dash == "-" and known else ("I", whole))
    return found
