"""Writes answers to prompts for `osd-edge run`: as they come for people, whole for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.options import SEED, FiniteRange, OptionDecorator
from osd_edge.cli.output import refusal_line
from osd_edge.errors import OsdEdgeError, shown

if TYPE_CHECKING:
    from osd_edge.runtime import EdgeSession, GeneratedText

_SHARE = FiniteRange(0, 1)
_OPTIONS: tuple[OptionDecorator, ...] = (
    click.option(
        "--max-tokens", type=click.IntRange(1), default=256, show_default=True, metavar="TOKENS",
        help="The most tokens of an answer to a prompt.",
    ),
    click.option(
        "--temperature", type=FiniteRange(0), default=0.0, show_default=True, metavar="T",
        help="How evenly tokens are drawn; 0: the likeliest.",
    ),
    click.option(
        "--top-k", type=click.IntRange(0), default=0, metavar="K",
        help="Draw from the K likeliest tokens.",
    ),
    click.option(
        "--top-p", type=FiniteRange(0, 1, min_open=True), default=1.0, metavar="P",
        help="Draw from the likeliest tokens that make up P of all chances.",
    ),
    click.option(
        "--min-p", type=_SHARE, default=0.0, metavar="P",
        help="Draw from tokens at least P times as likely as the likeliest.",
    ),
    click.option(
        "--repetition-penalty", type=FiniteRange(0, min_open=True), default=1.0, metavar="R",
        help="Above 1: tokens that were there are less likely.",
    ),
    click.option("--seed", type=SEED, metavar="N", help="Repeats what is drawn."),
    click.option("--stop", multiple=True, metavar="TEXT", help="Ends an answer; may be repeated."),
)  # fmt: skip


def writing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how answers to prompts are written, by the session's own words."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Prompts:
    """Prompts as they were typed: texts, or with `chat` what a user says, after `system`."""

    texts: Sequence[str]
    chat: bool = False
    system: str | None = None

    def given(self) -> list[Any]:
        """The prompts as a session takes them."""
        if not self.chat and self.system is None:
            return list(self.texts)
        first = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [[*first, {"role": "user", "content": text}] for text in self.texts]


def write_for_people(
    session: "EdgeSession", tasks: Sequence[str | None], prompts: Prompts, words: dict[str, Any]
) -> bool:
    """Prints answers piece by piece, one after the other; each below its prompt if there are many.

    A refusal stands in the place of its answer, on standard error. Says whether all were answered.
    """
    several = len(tasks) * len(prompts.texts) > 1
    answered = True
    for task in tasks:
        for text, prompt in zip(prompts.texts, prompts.given(), strict=True):
            if several:
                click.echo(f"[{task or 'base'}] {shown(text)}")
            try:
                for piece in session.generate([prompt], task=task, stream=True, **words):
                    click.echo(for_terminal(piece.text), nl=False)
            except OsdEdgeError as error:
                if not several:
                    raise
                click.echo(refusal_line(error), err=True)
                answered = False
            click.echo("\n" if several else "")
    return answered


def write_for_programs(
    session: "EdgeSession", tasks: Sequence[str | None], prompts: Prompts, words: dict[str, Any]
) -> bool:
    """Prints an object a line for each answer of each task; says whether all were answered."""
    answered = True
    for task in tasks:
        answers = session.generate(prompts.given(), task=task, **words)
        for line in _lines(prompts.texts, answers):
            click.echo(json.dumps(line, ensure_ascii=True))
            answered = answered and line["error"] is None
    return answered


def _lines(texts: Sequence[str], answers: Sequence["GeneratedText"]) -> Iterator[dict[str, Any]]:
    return (answer_fields(*one) for one in zip(texts, answers, strict=True))


def answer_fields(prompt: str, answer: "GeneratedText") -> dict[str, Any]:
    """The fields of an answer that programs are given."""
    return {
        "task": answer.task,
        "prompt": prompt,
        "text": answer.text,
        "ended": answer.ended,
        "tokens": list(answer.tokens),
        "prompt_tokens": answer.prompt_tokens,
        "seconds_to_first": answer.seconds_to_first,
        "seconds": answer.seconds,
        "error": None if answer.error is None else error_fields(answer.error),
    }


def error_fields(error: OsdEdgeError) -> dict[str, str]:
    """The fields of a refusal that programs are given."""
    return {"code": str(error.code), "message": str(error)}


def for_terminal(text: str) -> str:
    """Text for where it goes: a terminal obeys control codes, and a model may write any."""
    if not sys.stdout.isatty():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
