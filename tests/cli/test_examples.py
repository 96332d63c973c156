"""The examples at the end of each command's help are lines that the command takes."""

import re
import shlex

import click
import pytest

from osd_edge.cli.main import cli
from tests.support.command_line import command_at, command_paths

REDIRECTIONS = (">", ">>", "<")


def examples(command: click.Command) -> list[list[str]]:
    """The words of each example, a line that goes on with a backslash being one with the next."""
    text = re.sub(r"\\\n\s*", "", command.epilog or "")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("osd-edge ")]


def parse(words: list[str]) -> list[str]:
    """Has the words parsed by the command that they name; the words of its name."""
    assert words.pop(0) == "osd-edge"
    ends = [i for i, word in enumerate(words) if word in REDIRECTIONS]
    words = words[: ends[0]] if ends else words
    path: list[str] = []
    while isinstance(command := command_at(tuple(path)), click.Group):
        path.append(words.pop(0))
    command.make_context(path[-1], words, parent=click.Context(cli))
    return path


PATHS = list(command_paths(cli))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: " ".join(path) or "osd-edge")
def test_the_help_ends_with_an_example_that_the_command_takes(path: tuple[str, ...]) -> None:
    command = command_at(path)
    given = examples(command)
    assert given
    for words in given:
        assert tuple(parse(words)[: len(path)]) == path
    shown = command.get_help(click.Context(command, info_name="osd-edge", terminal_width=80))
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[next(i for i, x in enumerate(lines) if x.startswith("  Example")) + 1].startswith(
        "    osd-edge "
    )


@pytest.mark.parametrize(
    "line",
    [
        "osd-edge verify mr.osd.safetensors --base minilm --no-such",
        "osd-edge verify --base minilm",
        "osd-edge run --bundle mr.osd.safetensors --text x",
        "osd-edge export task --base a --tuned b --method no-such -o c",
    ],
)
def test_an_example_that_has_rotted_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(shlex.split(line))
