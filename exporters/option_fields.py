"""Metadata by which a field of an options dataclass is an option of the command line too."""

from typing import Any


def flag(name: str, *, help: str, metavar: str | None = None, **more: Any) -> dict[str, Any]:
    """The metadata of such a field.

    `more` are `choices` (names, or a function that gives them), `least` and `most` of a number,
    `shown` where the help tells the default, `multiple` and `required`.
    """
    return {"flag": name, "help": help, "metavar": metavar} | more
