"""Holds examples against the labels that a model knows, and against each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from osd_edge.data.example import Example
from osd_edge.errors import Code, DataError, shown

_SHOWN = 8  # labels, in a message


def with_known_labels(
    path: Path, examples: Sequence[Example], labels: Sequence[str]
) -> tuple[Example, ...]:
    """Examples whose labels are the model's, by name.

    Numbers in their place count as the model counts its outputs where that is sure: all are among
    0, 1, … and 0 is one of them, so that they cannot begin at 1.

    Raises DataError `data.label` for a label that is none of `labels`, by its line, and
    `data.unlabelled` for an example without one.
    """
    for number, example in enumerate(examples, 1):
        if not (example.label or "").strip():
            raise DataError(
                Code.DATA_UNLABELLED,
                f"{row_name(path, number, example)} has no label: expected a table with the "
                "columns label and text, and a label in every row",
            )
    names = names_of_numbers([e.label or "" for e in examples], labels)
    known = set(labels)
    found = []
    for number, example in enumerate(examples, 1):
        label = names.get(example.label or "", example.label or "")
        label = label if label in known else label.strip()
        if label not in known:
            raise unknown_label(row_name(path, number, example), label, labels)
        found.append(example if label == example.label else replace(example, label=label))
    return tuple(found)


def row_name(path: Path, number: int, example: Example) -> str:
    """A row in messages: a picture by its name, else by its line in the file or its number."""
    if example.picture is not None:
        return f"{path} picture {example.text}"
    return f"{path} " + (f"row {number}" if example.line is None else f"line {example.line}")


def names_of_numbers(found: Iterable[str], labels: Sequence[str]) -> Mapping[str, str]:
    """The label's name for each number found in its place; nothing where that is not sure."""
    numbers = set(found)
    outputs = {str(index): label for index, label in enumerate(labels)}
    if numbers & set(labels) or "0" not in numbers or not numbers <= outputs.keys():
        return {}
    return {number: outputs[number] for number in numbers}


def unknown_label(where: str, label: str, labels: Sequence[str]) -> DataError:
    """The refusal (`data.label`) of a label that is none of the model's."""
    some = ", ".join(shown(known, 30) for known in list(labels)[:_SHOWN])
    advice = ""
    if label.lower() in (known.lower() for known in labels):
        advice = ": capitals and small letters differ"
    elif label.isdecimal():
        advice = (
            f": numbers are taken for its {len(labels)} outputs where all are 0 to "
            f"{len(labels) - 1} and 0 is among them; otherwise write the names"
        )
    return DataError(
        Code.DATA_LABEL,
        f"{where}: the model does not know label {shown(label, 60)!r}; "
        f"it knows {some}{', …' if len(labels) > _SHOWN else ''}{advice}",
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
