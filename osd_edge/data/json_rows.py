"""Reads an example from a line of a `.jsonl` file, in each form that such files have."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from osd_edge.data.columns import LABEL, PAIR, TEXT, roles_of
from osd_edge.data.example import Example, as_messages
from osd_edge.errors import Code, DataError, InputError, shown

_FORMS = (
    '{"prompt": …, "completion": …}, {"messages": […]}, {"text": …, "label": …}, {"text": …, '
    '"labels": […]}, {"question": …, "context": …, "answers": […]}, {"tokens": […], "tags": […]} '
    'or {"text": …, "entities": […]}'
)
_TAGS = ("tags", "ner_tags", "labels")  # beside tokens


class _FormError(ValueError):
    """A row that is of no form; says why where it is nearly of one."""


def json_example(path: Path, number: int, line: str) -> Example:
    """The example in line `number`. Raises DataError `data.row`."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            Code.DATA_ROW,
            f"{path} line {number}: expected a JSON object, found {shown(line, 60)}{_advice(line)}",
        ) from error
    try:
        return _example(row if isinstance(row, dict) else {}, number)
    except _FormError as error:
        why = f"{error}, " if str(error) else f"expected {_FORMS}, "
        raise DataError(
            Code.DATA_ROW, f"{path} line {number}: {why}found {shown(line, 60)}{_advice(line)}"
        ) from error
    except InputError as error:
        raise DataError(Code.DATA_ROW, f"{path} line {number}: {error}") from error


def _advice(line: str) -> str:
    """The way out of a file that is one JSON list."""
    if not line.lstrip().startswith("["):
        return ""
    return ": a .jsonl has an object a line; jq -c '.[]' FILE.json > FILE.jsonl makes one of a list"


def _example(row: Mapping[str, Any], line: int) -> Example:
    row = {name.strip().lower(): value for name, value in row.items()}
    prompt, messages = row.get("prompt"), row.get("messages")
    if messages is not None and prompt is None:
        listed = as_messages(messages)
        last = listed[-2 if len(listed) > 1 else -1]
        return Example(last["content"], messages=listed, line=line)
    if isinstance(prompt, str) and prompt and messages is None:
        return Example(prompt, completion=row.get("completion"), line=line)
    if prompt is not None or messages is not None:
        raise _FormError
    if "tokens" in row:
        return _tagged(row, line)
    return _text(row, line)


def _tagged(row: Mapping[str, Any], line: int) -> Example:
    """Words with a tag each."""
    tags = next((row[name] for name in _TAGS if name in row), None)
    words = row["tokens"]
    if not isinstance(words, list) or not isinstance(tags, list) or not words:
        raise _FormError('expected {"tokens": […], "tags": […]}')
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise _FormError("expected words without an empty one as tokens")
    return Example(" ".join(words), words=words, tags=_each(tags, _name), line=line)


def _text(row: Mapping[str, Any], line: int) -> Example:
    """A text, or a pair of texts, with whatever answer there is."""
    try:
        roles, others = roles_of(list(row))
    except ValueError as error:
        raise _FormError(str(error)) from error
    named = {role: list(row.values())[index] for role, index in roles.items()}
    text, pair, label = (named.get(role) for role in (TEXT, PAIR, LABEL))
    if not isinstance(text, str) or not text.strip():
        raise _FormError
    answers: dict[str, Any] = {}
    for field, names, read in _SEVERAL:
        found = next((name for name in names if row.get(name) is not None), None)
        if found is not None:
            answers[field] = read(row[found])
            others.remove(found)
    if label is None and not answers and LABEL not in named and others:
        raise _FormError(
            f'no key "label", but {", ".join(shown(o, 30) for o in others[:4])}: name the one '
            "with the right answers label, or leave it out"
        )
    label = None if label is None else _name(label)
    return Example(text, label, pair, line=line, **answers)


def _name(value: Any) -> str:
    """A label as text: names are text, ids and the numbers of a regression are numbers."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    raise _FormError(f"expected a label as text or a number, found {shown(repr(value), 30)}")


def _each(values: Any, read: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(values, list):
        raise _FormError("expected a list of labels")
    return [read(value) for value in values]


def _part(value: Any) -> Any:
    if not isinstance(value, dict) or not {"start", "end", "label"} <= value.keys():
        raise _FormError('expected each part as {"start": …, "end": …, "label": …}')
    return value["start"], value["end"], value["label"]


def _answers(value: Any) -> list[Any]:
    """Answers as a list, one text, or as SQuAD has them."""
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise _FormError("expected answers as a list of texts")
    return [one.get("text") if isinstance(one, dict) else one for one in value]


# Of an example that has several right answers: the field, the keys that stand for it, their reader.
_SEVERAL: tuple[tuple[str, tuple[str, ...], Callable[[Any], Any]], ...] = (
    ("labels", ("labels",), lambda value: _each(value, _name)),
    ("parts", ("entities", "spans"), lambda value: _each(value, _part)),
    ("answers", ("answers", "answer"), _answers),
)
