"""Fields of options dataclasses that are options of the command line too."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from osd_edge.data.arguments import described
from osd_edge.errors import Code, InputError


def flag(name: str, *, help: str, metavar: str | None = None, **more: Any) -> dict[str, Any]:
    """The metadata of such a field.

    `more` are `choices` (names, or a function that gives them), `least` and `most` of a whole
    number, `type` of what is no text, `model` where a model's folder or hub id is meant, `shown`
    where the help tells the default, `multiple` and `required`.
    """
    return {"flag": name, "help": help, "metavar": metavar} | more


def several(name: str, value: Any) -> tuple[Any, ...]:
    """The values of an option as a tuple, which nobody changes; a text is one value.

    Raises InputError `input.options` for what is no list.
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Mapping | bytes):
        try:
            return tuple(value)
        except TypeError:
            pass
    raise InputError(
        Code.INPUT_OPTIONS, f"{name}: expected several values, found {described(value)}"
    )


def several_texts(name: str, value: Any) -> tuple[str, ...]:
    """The texts of an option as a tuple; a text is one. Raises InputError `input.options`."""
    texts = several(name, value)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(
                Code.INPUT_OPTIONS, f"{name}: expected texts, found {described(text)} among them"
            )
    return texts


def sites_field() -> Any:
    """The field of the linear layers that take part: of a base package, and of a task over it."""
    return field(
        default=("*",),
        metadata=flag(
            "--sites",
            metavar="GLOB",
            multiple=True,
            help="Linear layers that take part, e.g. '*.attention.*'; may be repeated. "
            "Default: all.",
        ),
    )
