"""The options that several commands take, in the same words."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from osd_edge.data.files import kind_at
from osd_edge.data.seed import MOST_SEED

OptionDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# By this variable a shell asks for completions; click would name it for the program's file.
COMPLETION_VARIABLE = "_OSD_EDGE_COMPLETE"
SEED = click.IntRange(0, MOST_SEED)
THREADS = click.IntRange(0, 1024)  # 0: all cores; onnxruntime would try to make any number


class ModelName(click.types.StringParamType):
    """A model's folder or its hub id: any text, and a shell completes folders."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leaves folders to the shell, which knows them."""
        return [CompletionItem(incomplete, type="dir")]


MODEL = ModelName()


def example(*lines: str) -> str:
    """Words the end of a command's help: what a user would type; a line may go on in the next."""
    several = sum(not line.startswith(" ") for line in lines) > 1
    title = "Examples:" if several else "Example:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


class FiniteRange(click.FloatRange):
    """A range that refuses `nan` and `inf`: the first is neither below nor above any bound."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Gives the number, where it is finite and in the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def weighted(adapter: str) -> tuple[str, float]:
    """Gives the folder and weight of DIR or DIR:WEIGHT; a folder of the whole name comes first."""
    if kind_at(Path(adapter)) == "folder":
        return adapter, 1.0
    folder, colon, weight = adapter.rpartition(":")
    try:
        return (folder, float(weight)) if colon else (adapter, 1.0)
    except ValueError:
        return adapter, 1.0  # a colon of the path's own


def given_options(*names: str) -> list[str]:
    """Lists those of the running command's options `names` that the command line has, as typed."""
    context = click.get_current_context()
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    ]


json_option: OptionDecorator = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs."
)
base_option: OptionDecorator = click.option(
    "--base", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Base package."
)
host_option: OptionDecorator = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to serve at; 0.0.0.0 is every one of this machine.",
)
memory_option: OptionDecorator = click.option(
    "--memory",
    type=click.Choice(["default", "low"]),
    default="default",
    show_default=True,
    help="low: for small devices, much less resident and somewhat slower.",
)
threads_option: OptionDecorator = click.option(
    "--threads", type=THREADS, default=0, metavar="N", help="Threads of a run. Default: all cores."
)


def port_option(default: int) -> OptionDecorator:
    """Makes the option of the port to serve at."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="0: any free one.",
    )
