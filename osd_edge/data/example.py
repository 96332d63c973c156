"""One example of a task: what it is asked, and what the right answer is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osd_edge.data.arguments import as_path, as_whole, described, expect
from osd_edge.errors import Code, InputError

LabelledPart = tuple[
    int, int, str
]  # of a text: its first character, that after its last, and a label


@dataclass(frozen=True)
class Example:
    """One example of a task: a text, a pair of texts or a picture, with or without its answer.

    For a task that writes it is a prompt with its completion, or messages the last of which is the
    answer.

    Attributes:
        text: The text, or the prompt; for a picture or messages, what errors call it.
        label: The label's name, None where the file has none. Of a regression the number, as text.
        text_pair: The second text of a pair, such as the context of a question.
        picture: The file of a picture, as a Path; text is taken too.
        completion: The text that a model should write after the prompt; None where nobody knows.
        messages: A conversation in the place of a prompt and its completion, each message with a
            `role` and its `content`.
        labels: Several right labels at once, any number of them; of a regression its numbers.
        words: The words of the text, for a tagger, which are all that it is made of.
        tags: A tag for each of `words`, such as `B-PER` or `O`.
        parts: In the place of `words` and `tags`, the parts of the text that have a label: each
            with its first character, the first one after it, and the label.
        answers: Texts that answer the question `text` about `text_pair`; any of them is right.
        line: Where it stands in the file that it was read from; no part of what it is.

    Raises:
        InputError: `input.texts` for a text, a label, a second text or a completion that is no
            text, and for labels, words, tags, parts or answers that are none; `input.path` for a
            picture that is no path, `input.messages` for messages that are none, `input.number`
            for a line that is none.

    >>> from osd_edge import Example
    >>> Example("a film of real charm", "positive").label
    'positive'
    """

    text: str
    label: str | None = None
    text_pair: str | None = None
    picture: str | Path | None = None
    completion: str | None = None
    messages: Sequence[Mapping[str, str]] | None = field(default=None, hash=False)
    labels: Sequence[str] | None = None
    words: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    parts: Sequence[LabelledPart] | None = None
    answers: Sequence[str] | None = None
    line: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the types."""
        for name in ("text", "label", "text_pair", "completion"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "text"):
                raise InputError(
                    Code.INPUT_TEXTS,
                    f"{name} of an example: expected text, found {described(value)}",
                )
            if value is not None:
                _expect_unicode(value, f"{name} of an example")
        if self.picture is not None:
            object.__setattr__(self, "picture", as_path(self.picture, "picture"))
        if self.messages is not None:
            object.__setattr__(self, "messages", as_messages(self.messages))
        for name in ("labels", "words", "tags", "answers"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _texts(value, f"{name} of an example"))
        if self.parts is not None:
            object.__setattr__(self, "parts", _parts(self.parts, self.text))
        if self.line is not None:
            as_whole(self.line, "the line of an example", 1)
        if (self.words is None) != (self.tags is None) or len(self.words or ()) != len(
            self.tags or ()
        ):
            raise InputError(
                Code.INPUT_TEXTS,
                f"an example has {len(self.words or ())} words and {len(self.tags or ())} tags: "
                "expected a tag for each word",
            )


def expect_examples(examples: object) -> Iterable[Example]:
    """Gives examples one by one; refuses (`input.type`) whatever else is among them."""
    for example in expect(examples, Iterable, "examples"):  # type: ignore[type-abstract]
        yield expect(example, Example, "an example")


def as_messages(given: object) -> tuple[Mapping[str, str], ...]:
    """Messages, each of which has a role and a content; raises InputError `input.messages`."""
    listed = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    for message in listed:
        ends = message if isinstance(message, Mapping) else {}
        if not all(isinstance(ends.get(name), str) for name in ("role", "content")):
            raise InputError(
                Code.INPUT_MESSAGES,
                f"expected messages with a role and a content, found {described(message)}",
            )
        _expect_unicode(ends["content"], "a message")
    if not listed:
        raise InputError(
            Code.INPUT_MESSAGES, f"expected a list of messages, found {described(given)}"
        )
    return listed


def _expect_unicode(text: str, name: str) -> None:
    """Refuses (`input.texts`) half of a surrogate pair, which JSON has an escape for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(Code.INPUT_TEXTS, f"{name} is not valid Unicode") from error


def _texts(given: object, name: str) -> tuple[str, ...]:
    """Several texts as a tuple; raises InputError `input.texts`."""
    listed = _listed(given)
    if listed is None or not all(isinstance(one, str) for one in listed):
        raise InputError(Code.INPUT_TEXTS, f"{name}: expected texts, found {described(given)}")
    for one in listed:
        _expect_unicode(one, name)
    return listed


def _parts(given: object, text: str) -> tuple[LabelledPart, ...]:
    """Parts of `text` with a label each; raises InputError `input.texts`."""
    found = []
    listed = _listed(given)
    for part in (given,) if listed is None else listed:
        try:
            start, end, label = part
            right = type(start) is type(end) is int and isinstance(label, str)
        except (TypeError, ValueError):
            right = False
        if not right or not 0 <= start < end <= len(text):
            raise InputError(
                Code.INPUT_TEXTS,
                "parts of an example: expected each with a first character, the one after its "
                f"last, both within the text, and a label, found {described(part)}",
            )
        _expect_unicode(label, "a label of a part")
        found.append((start, end, label))
    return tuple(found)


def _listed(given: Any) -> tuple[Any, ...] | None:
    """A list's items; None for what is no list."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray):
        return None
    return tuple(given)
