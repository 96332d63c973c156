"""Fields of options dataclasses that are options of the command line too."""

from dataclasses import field
from typing import Any


def flag(name: str, *, help: str, metavar: str | None = None, **more: Any) -> dict[str, Any]:
    """The metadata of such a field.

    `more` are `choices` (names, or a function that gives them), `least` and `most` of a whole
    number, `type` of what is no text, `model` where a model's folder or hub id is meant, `shown`
    where the help tells the default, `multiple` and `required`.
    """
    return {"flag": name, "help": help, "metavar": metavar} | more


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
