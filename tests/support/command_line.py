"""Running the command line as `osd-edge` itself would, in this process, and its commands."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click
import pytest

from osd_edge.cli.main import cli, main


@dataclass(frozen=True)
class Result:
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Run `osd-edge ARGUMENTS`; an exception that is not an exit is a failure of the test."""
    argv = sys.argv
    sys.argv = ["osd-edge", *map(str, arguments)]
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)


def command_paths(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """The names by which a command and all below it are called."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from command_paths(below, *path, name)


def command_at(path: tuple[str, ...]) -> click.Command:
    """The command that the names lead to."""
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None, f"no command {name}"
        command = below
    return command
