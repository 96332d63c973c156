"""Answers of a talk as they are shown: to people piece by piece, to programs an object a line."""

import json
from abc import ABC, abstractmethod
from typing import Any

import click

from osd_edge.cli.chat_commands import Reply, run_command, said
from osd_edge.cli.chat_lines import interrupts
from osd_edge.cli.output import refusal_line
from osd_edge.cli.prompts import answer_fields, error_fields, for_terminal
from osd_edge.cli.talk import CANCELLED, Talk
from osd_edge.errors import OsdEdgeError, shown


class Shown(ABC):
    """A way to show a talk."""

    def __init__(self, talk: Talk, *, typed: bool) -> None:
        """Takes the talk, and whether its lines are typed."""
        self.talk = talk
        self.typed = typed

    def answer(self, line: str) -> bool:
        """Answers a line, or does what it commands; says whether the talk is at its end.

        Raises OsdEdgeError for what is refused.
        """
        text = said(line)
        if text is None:
            reply = run_command(self.talk, line)
            self._reply(line, reply)
            return reply.ends
        self._answer(text)
        return False

    @abstractmethod
    def begin(self) -> None:
        """Shows what the talk is with."""

    @abstractmethod
    def refuse(self, line: str, error: OsdEdgeError) -> None:
        """Shows that a line was refused."""

    @abstractmethod
    def _answer(self, text: str) -> None: ...

    @abstractmethod
    def _reply(self, line: str, reply: Reply) -> None: ...


class ForPeople(Shown):
    """Shows answers as they come; what is no answer stands on standard error, and is brief."""

    def begin(self) -> None:
        """Names the tasks, where somebody types, and says how lines are taken."""
        if not self.typed:
            return
        talk = self.talk
        tasks = ", ".join(map(shown, talk.tasks)) or "no task"
        click.echo(f"{talk.session.folder} with {tasks}; /help lists commands", err=True)
        if not talk.taught:
            self._note("the base's model was taught no conversations: each line is a prompt")

    def refuse(self, line: str, error: OsdEdgeError) -> None:
        """Shows the refusal as a line with its code."""
        click.echo(refusal_line(error), err=True)

    def _answer(self, text: str) -> None:
        ended, open_line = None, False
        try:
            with interrupts(typed=self.typed) as cancel:
                for piece in self.talk.stream(text, cancel):
                    click.echo(for_terminal(piece.text), nl=False)
                    open_line, ended = True, piece.ended
        finally:
            if open_line:
                click.echo()
        if self.talk.forgotten:
            self._note(f"the oldest turns were forgotten for want of room: {self.talk.forgotten}")
        if self.typed:
            why = {
                CANCELLED: "cancelled",
                "length": "as long as --max-tokens allows",
                "context": "no more room: /reset begins anew",
            }
            if ended in why:
                self._note(why[ended])

    def _reply(self, line: str, reply: Reply) -> None:
        for one in reply.lines:
            click.echo(one, err=not self.typed)

    def _note(self, words: str) -> None:
        click.echo(f"({words})", err=True)


class ForPrograms(Shown):
    """Shows an object a line: of each answer, reply to a command, and refusal."""

    def begin(self) -> None:
        """Shows nothing."""

    def refuse(self, line: str, error: OsdEdgeError) -> None:
        """Shows the refusal, by the fields of an answer or a reply."""
        text = said(line)
        if text is None:
            self._line({"command": line.partition(" ")[0], "error": error_fields(error)})
            return
        from osd_edge.runtime import GeneratedText

        none = GeneratedText("", (), "refused", 0, 0.0, 0.0, self.talk.task, error)
        self._line(answer_fields(text, none) | {"forgotten": 0})

    def _answer(self, text: str) -> None:
        with interrupts(typed=self.typed) as cancel:
            answer = self.talk.whole(text, cancel)
        self._line(answer_fields(text, answer) | {"forgotten": self.talk.forgotten})

    def _reply(self, line: str, reply: Reply) -> None:
        if not reply.ends:
            self._line({"command": line.partition(" ")[0], **reply.fields, "error": None})

    def _line(self, fields: dict[str, Any]) -> None:
        click.echo(json.dumps(fields, ensure_ascii=True))
