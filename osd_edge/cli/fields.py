"""Command-line options made from the fields of an options dataclass."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from osd_edge.cli.options import MODEL

Command = Callable[..., Any]


class Names(click.ParamType[str]):
    """One of the names that a function gives when it is asked, such as those of a registry."""

    name = "choice"

    def __init__(self, names: Callable[[], tuple[str, ...]]) -> None:
        """Take the function; it is called for every help text and every value."""
        self._names = names

    def _choice(self) -> click.Choice[str]:
        return click.Choice(self._names())

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, where it is one of them."""
        return str(self._choice().convert(value, param, ctx))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        return self._choice().shell_complete(ctx, param, incomplete)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """The names, as a choice shows them."""
        return self._choice().get_metavar(param, ctx)


def options_of(options: type) -> Callable[[Command], Command]:
    """Adds an option for each field of the dataclass `options` that says it is one.

    The command gets the values as keywords by the fields' names; a field that stands for a
    dataclass of its own gives that one's options.
    """

    def decorate(command: Command) -> Command:
        for field in reversed(list(_flags(options))):
            command = _option(field)(command)
        return command

    return decorate


def values_of(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for `options` from what a command was given; what was not given is left out."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        group = field.metadata.get("group")
        if group is not None:
            own = values_of(group, {f.name: given[key] for key, f in _prefixed(field)})
            if own:
                values[field.name] = group(**own)
        elif given.get(field.name) not in (None, ()):
            values[field.name] = given[field.name]
    return values


def _flags(options: type) -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """The fields that are options, by the keyword that the command gets."""
    for field in dataclasses.fields(options):
        if "group" in field.metadata:
            yield from _prefixed(field)
        elif "flag" in field.metadata:
            yield field.name, field


def _prefixed(field: "dataclasses.Field[Any]") -> list[tuple[str, "dataclasses.Field[Any]"]]:
    own = dataclasses.fields(field.metadata["group"])
    return [(f"{field.name}_{one.name}", one) for one in own if "flag" in one.metadata]


def _option(named: tuple[str, "dataclasses.Field[Any]"]) -> Callable[[Command], Command]:
    name, field = named
    facts = field.metadata
    if facts.get("switch"):
        return click.option(
            facts["flag"], name, is_flag=True, default=field.default, help=facts["help"]
        )
    more: dict[str, Any] = {key: facts[key] for key in ("multiple", "required") if key in facts}
    if facts.get("shown"):
        more |= {"default": field.default, "show_default": True}
    if facts.get("metavar"):
        more["metavar"] = facts["metavar"]
    return click.option(facts["flag"], name, type=_type(facts), help=facts["help"], **more)


def _type(facts: Mapping[str, Any]) -> Any:
    if "choices" in facts:
        choices = facts["choices"]
        return Names(choices) if callable(choices) else click.Choice(tuple(choices))
    if "least" in facts:
        return click.IntRange(facts["least"], facts.get("most"))
    if facts.get("model"):
        return MODEL
    kind = facts.get("type", str)
    return click.Path(path_type=Path) if kind is Path else kind
