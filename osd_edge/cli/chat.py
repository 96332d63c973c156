"""`osd-edge chat`: a talk with a base and its tasks, in a terminal or through a pipe."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.bundles import bundles_option, load_bundles
from osd_edge.cli.options import (
    base_option,
    example,
    json_option,
    memory_option,
    threads_option,
)
from osd_edge.cli.prompts import writing_options
from osd_edge.errors import Code, InputError, OsdEdgeError

if TYPE_CHECKING:
    from osd_edge.formats.named_bundle import NamedBundle
    from osd_edge.runtime.graph import Memory


@click.command(
    epilog=example(
        "osd-edge chat --base smollm2",
        "osd-edge chat --base smollm2 --bundle polite.osd.safetensors --task polite",
        "osd-edge chat --base smollm2 --bundle snips.osd.safetensors --form $'<|im_start|>{}\\n'",
        "osd-edge chat --base smollm2 --single --json < sentences.txt",
    )
)
@base_option
@bundles_option("Without one, the base answers.")
@click.option("--task", metavar="NAME", help="That answers first. Default: the first bundle's.")
@click.option("--system", metavar="TEXT", help="The message before all others.")
@click.option("--single", is_flag=True, help="Each line is a conversation of its own.")
@click.option("--raw", is_flag=True, help="Each line is a prompt of its own, and no message.")
@click.option(
    "--form", metavar="TEXT", help="The form of raw prompts, with {} for the line; implies --raw."
)
@click.option(
    "--context",
    type=click.IntRange(2),
    metavar="TOKENS",
    help="The most tokens of a conversation, of which the oldest turns then go. "
    "Default: the base's limit.",
)
@writing_options
@threads_option
@memory_option
@json_option
def chat(
    base: Path,
    bundles: "tuple[NamedBundle, ...]",
    task: str | None,
    system: str | None,
    single: bool,
    raw: bool,
    form: str | None,
    context: int | None,
    threads: int,
    memory: "Memory",
    as_json: bool,
    **words: Any,
) -> None:
    """Talk with a base and its tasks: a line is said, and answered as the answer comes.

    Lines that begin with a slash are commands: /task NAME swaps, /stats tells what answers cost,
    and /help has the others. Ctrl-C ends an answer; at the prompt, it leaves, and so does Ctrl-D.
    Through a pipe each line is answered in turn, without a prompt; with --json, each by an object
    on a line. Exit code 1 where a line of a pipe was refused.
    """
    from osd_edge.cli.chat_lines import piped_lines, typed_lines
    from osd_edge.cli.chat_show import ForPeople, ForPrograms
    from osd_edge.cli.talk import Style, Talk
    from osd_edge.runtime import EdgeSession
    from osd_edge.runtime.kinds import Generate, expect_kind

    form = _form(form, raw=raw)
    if form is not None and (system is not None or single or context is not None):
        raise InputError(
            Code.INPUT_OPTIONS, "--system, --single and --context: not with --raw or --form"
        )
    with EdgeSession(base, threads=threads, memory=memory) as session:
        for name in load_bundles(session, bundles):
            expect_kind(name, session.kind(name), Generate)
        first = task if task is not None else next(iter(session.tasks), None)
        if first is not None:
            session.activate(first)
        talk = Talk(session, Style(form, system, single, context), words)
        typed = sys.stdin.isatty()
        show = (ForPrograms if as_json else ForPeople)(talk, typed=typed)
        show.begin()
        answered = True
        for line in typed_lines(talk) if typed else piped_lines():
            try:
                if show.answer(line):
                    break
            except OsdEdgeError as error:  # which ends the turn, and no more
                show.refuse(line, error)
                answered = False
    if not (typed or answered):
        sys.exit(1)


def _form(form: str | None, *, raw: bool) -> str | None:
    """The form of prompts, None where lines are messages. Raises InputError `input.options`."""
    if form is None:
        return "{}" if raw else None
    if form.count("{}") != 1:
        raise InputError(
            Code.INPUT_OPTIONS,
            f"--form: expected {{}} once, where the line stands, found it {form.count('{}')} times",
        )
    return form
