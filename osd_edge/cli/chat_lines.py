"""The lines of a talk: typed at a prompt that can be edited, or read from a pipe."""

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, ModuleType

import click

from osd_edge.cli.chat_commands import completions
from osd_edge.cli.talk import Talk
from osd_edge.errors import shown


def piped_lines() -> Iterator[str]:
    """Gives the lines of standard input, as each comes, without those that are empty.

    Bytes that are no text stand for themselves, so that what they were to say is refused.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    yield from _not_empty(iter(sys.stdin.readline, ""))


def typed_lines(talk: Talk) -> Iterator[str]:
    """Gives the lines that are typed, until Ctrl-C or Ctrl-D at the prompt."""
    readline = _readline(talk)
    try:
        yield from _not_empty(_prompted(talk))
    finally:
        if readline is not None:
            readline.set_completer(None)


@contextlib.contextmanager
def interrupts(*, typed: bool) -> Iterator[threading.Event]:
    """Gives an event that Ctrl-C sets while an answer is written; once more, Ctrl-C is itself.

    Where lines come through a pipe, or in another thread than the main one, it is so at once.
    """
    asked = threading.Event()
    if not typed or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _prompted(talk: Talk) -> Iterator[str]:
    while True:
        prompt = f"{shown(talk.task or 'base')}> "
        try:
            if sys.stdout.isatty():
                yield input(prompt)
            else:  # where answers go to a file, the prompt does not
                click.echo(prompt, nl=False, err=True)
                yield input()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return


def _not_empty(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        text = line.rstrip("\r\n")
        if text.strip():
            yield text


def _readline(talk: Talk) -> ModuleType | None:
    """Has the prompt's line edited, with a history of this talk, where there is a readline."""
    try:
        import readline
    except ImportError:  # Windows edits lines itself
        return None

    def complete(_: str, state: int) -> str | None:
        return next(iter(completions(talk, readline.get_line_buffer())[state:]), None)

    readline.set_completer_delims("")  # what is completed is the whole line
    readline.set_completer(complete)
    of_bsd = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if of_bsd else "tab: complete")
    return readline
