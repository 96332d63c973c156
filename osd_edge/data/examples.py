"""Reads examples: labelled `.tsv`, a text a line in `.txt`, what is to be written in `.jsonl`.

A `.tsv` begins with the header `label<TAB>text`, or `label<TAB>text<TAB>text_pair`; without
labels `text<TAB>text_pair` (a question and its context, say). UTF-8.
Anything else is refused with the number of its line, never guessed at.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osd_edge.data.arguments import as_path, described, expect
from osd_edge.data.bounded_read import read_bounded
from osd_edge.data.files import write_file
from osd_edge.data.own_errors import let_pass
from osd_edge.errors import Code, DataError, InputError, shown

_HEADERS = (["label", "text"], ["label", "text", "text_pair"], ["text", "text_pair"])


@dataclass(frozen=True)
class Example:
    """One example of a task: a text, a pair of texts or a picture, with or without its label.

    For a task that writes it is a prompt with its completion, or messages the last of which is the
    answer.

    Attributes:
        text: The text, or the prompt; for a picture or messages, what errors call it.
        label: The label's name, None where the file has none.
        text_pair: The second text of a pair, such as the context of a question.
        picture: The file of a picture, as a Path; text is taken too.
        completion: The text that a model should write after the prompt; None where nobody knows.
        messages: A conversation in the place of a prompt and its completion, each message with a
            `role` and its `content`.

    Raises:
        InputError: `input.texts` for a text, a label, a second text or a completion that is no
            text, `input.path` for a picture that is no path, `input.messages` for messages that
            are none.

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
            object.__setattr__(self, "messages", _messages(self.messages))


def read_examples(path: str | Path) -> tuple[Example, ...]:
    """Reads all examples in the file `path`, in their order.

    Args:
        path: A `.tsv` that begins with the header `label<TAB>text`, `label<TAB>text<TAB>text_pair`
            or `text<TAB>text_pair`; a `.txt` with a text a line, without labels; or a `.jsonl` with
            an object a line: `{"prompt": …, "completion": …}`, `{"prompt": …}` alone, or
            `{"messages": […]}`. UTF-8.

    Returns:
        At least one example.

    Raises:
        DataError: `data.missing`, `data.encoding`, `data.kind`, `data.header`, `data.row` or
            `data.empty`; the message has the number of the line.
        InputError: `input.path` for a path that is none.

    >>> from pathlib import Path
    >>> from osd_edge import read_examples
    >>> _ = Path("reviews.tsv").write_text("label\\ttext\\npositive\\ta film of real charm\\n")
    >>> read_examples(Path("reviews.tsv"))[0].label
    'positive'
    """
    path = as_path(path, "path")
    try:
        if path.suffix not in (".tsv", ".txt", ".jsonl"):
            path.stat()  # what is not there at all is said first
            raise DataError(
                Code.DATA_KIND,
                "expected a .tsv (labelled), .txt (a text a line) or .jsonl (prompts and "
                f"completions) file, found {path}",
            )
        data = read_bounded(path, sys.maxsize) or b""
        lines = data.decode("utf-8-sig").split("\n")
        lines = [line.removesuffix("\r") for line in lines]
        if not lines[-1]:
            lines.pop()  # what follows the last newline is no line
    except UnicodeDecodeError as error:
        where = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            Code.DATA_ENCODING, f"{path} line {where} is not UTF-8: save the file as UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        let_pass(error)
        reason = error.strerror if isinstance(error, OSError) else "not a file's name"
        raise DataError(Code.DATA_MISSING, f"cannot read {path}: {reason}") from error
    for number, line in enumerate(lines, 1):
        if "\r" in line or "\0" in line:
            raise DataError(
                Code.DATA_ROW, f"{path} line {number} holds a stray carriage return or a null byte"
            )
    if path.suffix == ".tsv":
        examples = _labelled(path, lines)
    elif path.suffix == ".jsonl":
        examples = tuple(
            _written(path, number, line) for number, line in enumerate(lines, 1) if line.strip()
        )
    else:
        examples = tuple(Example(line) for line in lines if line.strip())
    if not examples:
        raise DataError(Code.DATA_EMPTY, f"{path} holds no examples")
    return examples


def write_tsv(examples: Iterable[Example], path: str | Path) -> None:
    """Writes labelled `examples` as a `.tsv` that `read_examples` gives back.

    Args:
        examples: Single texts, each with a label.
        path: The file, which is replaced at once or not at all.

    Raises:
        DataError: `data.row` for a field that holds a tab or a line break, or is missing.
        InputError: `input.path` for a path that is none, `input.type` for other than examples.
        OutputError: The file cannot be written.

    >>> from pathlib import Path
    >>> from osd_edge import Example, read_examples, write_tsv
    >>> examples = (Example("a film of real charm", "positive"), Example("dull", "negative"))
    >>> write_tsv(examples, Path("reviews.tsv"))
    >>> read_examples(Path("reviews.tsv")) == examples
    True
    """
    path = as_path(path, "path")
    lines = ["label\ttext"]
    for example in expect_examples(examples):
        fields = (example.label or "", example.text)
        if any(not field.strip() or set(field) & set("\t\r\n") for field in fields):
            raise DataError(Code.DATA_ROW, f"cannot be a row of a .tsv file: {fields!r}")
        lines.append("\t".join(fields))
    write_file(path, ("\n".join(lines) + "\n").encode())


def expect_examples(examples: object) -> Iterable[Example]:
    """Gives examples one by one; refuses (`input.type`) whatever else is among them."""
    for example in expect(examples, Iterable, "examples"):  # type: ignore[type-abstract]
        yield expect(example, Example, "an example")


def check_labels(path: Path, examples: Sequence[Example], labels: Sequence[str]) -> None:
    """Refuses an example whose label is none of `labels`, by its line (DataError `data.label`).

    Examples without a label are refused as `data.unlabelled`.
    """
    known = set(labels)
    if any(example.label is None for example in examples):
        raise DataError(
            Code.DATA_UNLABELLED,
            f"{path} has rows without a label: expected a .tsv that begins with label<TAB>text",
        )
    for number, example in enumerate(examples, 2):
        if example.label not in known:
            where = f"line {number}" if example.picture is None else f"picture {example.text}"
            some = ", ".join(shown(label, 30) for label in list(labels)[:8])
            raise DataError(
                Code.DATA_LABEL,
                f"{path} {where}: the model does not know label "
                f"{shown(example.label or '', 60)!r}; "
                f"it knows {some}{', …' if len(known) > 8 else ''}",
            )


def check_pairs(sets: Mapping[str, Sequence[Example]]) -> None:
    """Refuses (`data.pairs`) pairs of texts beside single ones, in or across the named sets."""
    found: dict[bool, str] = {}
    for name, examples in sets.items():
        for example in examples:
            found.setdefault(example.text_pair is not None, name)
    if len(found) == 2:
        raise DataError(
            Code.DATA_PAIRS,
            f"{found[True]} holds pairs of texts, {found[False]} single texts: expected a "
            "text_pair in every row of all examples of a task, or in none",
        )


def _labelled(path: Path, lines: list[str]) -> tuple[Example, ...]:
    header = lines[0].split("\t") if lines else []
    if header not in _HEADERS:
        if not lines:
            raise DataError(Code.DATA_EMPTY, f"{path} is empty")
        raise DataError(
            Code.DATA_HEADER,
            f"{path} line 1: expected the header label<TAB>text, found {lines[0][:60]!r}; texts "
            "alone, one a line, are a .txt",
        )
    examples = []
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(header) or not all(field.strip() for field in fields):
            raise DataError(
                Code.DATA_ROW,
                f"{path} line {number}: expected {len(header)} fields with a tab between them, "
                f"found {line[:60]!r}",
            )
        named = dict(zip(header, fields, strict=True))
        examples.append(Example(named["text"], named.get("label"), named.get("text_pair")))
    return tuple(examples)


def _written(path: Path, number: int, line: str) -> Example:
    """The example in a line of a `.jsonl`: a prompt with or without its completion, or messages."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            Code.DATA_ROW, f"{path} line {number}: expected a JSON object, found {shown(line, 60)}"
        ) from error
    row = row if isinstance(row, dict) else {}
    prompt, completion, messages = (row.get(n) for n in ("prompt", "completion", "messages"))
    try:
        if messages is not None and prompt is None:
            listed = _messages(messages)
            return Example(listed[-2 if len(listed) > 1 else -1]["content"], messages=listed)
        if isinstance(prompt, str) and prompt and messages is None:
            return Example(prompt, completion=completion)
    except InputError as error:
        raise DataError(Code.DATA_ROW, f"{path} line {number}: {error}") from error
    raise DataError(
        Code.DATA_ROW,
        f'{path} line {number}: expected {{"prompt": …, "completion": …}} or {{"messages": […]}}, '
        f"found {shown(line, 60)}",
    )


def _expect_unicode(text: str, name: str) -> None:
    """Refuses (`input.texts`) half of a surrogate pair, which JSON has an escape for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(Code.INPUT_TEXTS, f"{name} is not valid Unicode") from error


def _messages(given: object) -> tuple[Mapping[str, str], ...]:
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
