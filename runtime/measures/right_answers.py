"""Right answers of examples as each kind of task needs them, or which row lacks them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from osd_edge.data.example import Example
from osd_edge.data.labels import names_of_numbers, row_name, unknown_label
from osd_edge.errors import Code, DataError, shown

EXAMPLES = Path("examples")  # in messages, where no file is known


def lacking(path: Path, number: int, example: Example, what: str) -> DataError:
    """The refusal (`data.unlabelled`) of a row without the right answer; `what` it should have."""
    where = row_name(path, number, example)
    return DataError(
        Code.DATA_UNLABELLED,
        f"{where} has no right answer for this kind of task: expected {what}, as docs/rows.md "
        f"shows; found {shown(example.text, 40)!r}",
    )


def several_labels(
    path: Path, examples: Sequence[Example], labels: Sequence[str]
) -> list[frozenset[str]]:
    """The labels that apply to each example; in one text commas stand between them."""
    found = []
    for number, example in enumerate(examples, 1):
        given = example.labels
        if given is None and example.label is not None:
            whole = example.label.strip()
            given = (whole,) if whole in labels else [one.strip() for one in whole.split(",")]
            given = given if whole else ()  # none of them applies
        if given is None:
            raise lacking(path, number, example, '"labels": […], or a label with commas')
        found.append(given)
    names = names_of_numbers((one for given in found for one in given), labels)
    sets = [frozenset(names.get(one, one) for one in given) for given in found]
    for number, (example, own) in enumerate(zip(examples, sets, strict=True), 1):
        _check_known(row_name(path, number, example), sorted(own), labels)
    return sets


def numbers(path: Path, examples: Sequence[Example], count: int) -> list[list[float]]:
    """The `count` numbers that are right for each example."""
    found = []
    for number, example in enumerate(examples, 1):
        given = example.labels
        if given is None and example.label is not None:
            given = (example.label,)
        if given is None:
            raise lacking(path, number, example, f'"label" with {count} numbers')
        try:
            row = [float(one) for one in given]
        except ValueError:
            row = []
        if len(row) != count or not all(map(math.isfinite, row)):
            raise DataError(
                Code.DATA_LABEL,
                f"{row_name(path, number, example)}: expected {count} finite "
                f"number{'s' if count > 1 else ''}, found {shown(', '.join(given), 40)!r}",
            )
        found.append(row)
    return found


def with_known_tags(
    path: Path, examples: Sequence[Example], tags: Sequence[str], parts: Iterable[str]
) -> tuple[Example, ...]:
    """Examples whose words have the model's `tags`, or whose parts have labels among `parts`."""
    names = names_of_numbers((tag for example in examples for tag in example.tags or ()), tags)
    parts, found = list(parts), []
    for number, example in enumerate(examples, 1):
        where = row_name(path, number, example)
        if example.words is not None and example.tags is not None:
            named = tuple(names.get(tag, tag) for tag in example.tags)
            _check_known(where, named, tags)
            if " ".join(example.words) != example.text:
                raise DataError(
                    Code.DATA_ROW, f"{where}: the text is not its words with blanks between them"
                )
            found.append(replace(example, tags=named))
        elif example.parts is not None:
            _check_known(where, [label for _, _, label in example.parts], parts)
            found.append(example)
        else:
            what = '"tokens" with "tags", "entities", or a .conll'
            raise lacking(path, number, example, what)
    return tuple(found)


def _check_known(where: str, given: Iterable[str], labels: Sequence[str]) -> None:
    for label in given:
        if label not in labels:
            raise unknown_label(where, label, labels)
