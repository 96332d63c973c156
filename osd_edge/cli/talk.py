"""A talk over a session: who answers, what is remembered from line to line, and what it cost."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osd_edge.runtime import Conversation, EdgeSession, GeneratedText, Piece
    from osd_edge.runtime.generation.generate import Cancel

DROP = "drop"  # a conversation that is full forgets its oldest turns
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Style:
    """The way that lines are taken.

    Attributes:
        form: The form of prompts, with {} for the line; None where lines are messages.
        system: The message before all others.
        single: Whether each line is a conversation of its own.
        context: The most tokens of a conversation; None for the base's limit.
    """

    form: str | None = None
    system: str | None = None
    single: bool = False
    context: int | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of one answer: its tokens, and seconds from the line to its first token and end."""

    tokens: int
    seconds_to_first: float
    seconds: float

    @property
    def rate(self) -> float | None:
        """Tokens a second after the first; None where there are no more."""
        after = self.seconds - self.seconds_to_first
        return (self.tokens - 1) / after if self.tokens > 1 and after > 0 else None


class Talk:
    """A talk with the tasks of a session, or with its base alone.

    A line that is refused, or cancelled before its first token, leaves it as it was.

    Attributes:
        costs: The cost of each answer so far.
        forgotten: How many turns went with the last answer, for want of room.
        conversation: The conversation; None where nothing is remembered from line to line.
    """

    def __init__(self, session: "EdgeSession", style: Style, words: dict[str, Any]) -> None:
        """Begins a talk; `words` are those of `EdgeSession.generate`.

        Raises BaseError `base.generation`; `base.chat` for a system message, or lines that were
        asked to be messages, to a base whose model was taught no conversations.
        """
        from osd_edge.runtime.generation.generate import no_generation

        facts = session.manifest.generation
        if facts is None:
            raise no_generation()
        asked_for = style.system is not None or style.single or style.context is not None
        self.taught = facts.chat is not None
        if style.form is None and not self.taught and not asked_for:
            style = Style(form="{}")
        self.session, self.style, self._words = session, style, words
        self.facts = facts
        self.costs: list[Cost] = []
        self.forgotten = 0
        self.conversation: Conversation | None = None
        self.reset()

    @property
    def task(self) -> str | None:
        """The task that answers, None for the base alone."""
        return self.session.active

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that may answer."""
        return self.session.tasks

    @property
    def context_used(self) -> int:
        """The tokens of the conversation so far."""
        return 0 if self.conversation is None else len(self.conversation.tokens)

    @property
    def runs_again(self) -> bool:
        """Says whether the keys are of another task than the one that answers now."""
        conversation = self.conversation
        return conversation is not None and self.task != conversation.task

    @property
    def key_bytes(self) -> int:
        """The bytes of the keys that are kept from turn to turn."""
        return self.facts.bytes_of_a_token * self.context_used

    def swap(self, task: str | None) -> None:
        """Lets another task answer, or the base alone. Raises TaskError `task.unknown`."""
        if task is None:
            self.session.deactivate()
        else:
            self.session.activate(task)

    def reset(self) -> None:
        """Forgets what was said, but for the system message."""
        self.forgotten = 0
        style = self.style
        self.conversation = None
        if style.form is None:
            made = self._new_conversation()
            self.conversation = None if style.single else made

    def stream(self, line: str, cancel: "Cancel") -> "Iterator[Piece]":
        """Says a line, and gives the pieces of the answer as they come."""
        began = time.perf_counter()
        tokens, first, last, ended = 0, 0.0, 0.0, None
        before, self.forgotten = self._turns(), 0
        if self.style.form is not None:
            prompts = [self._prompt(line)]
            pieces = self.session.generate(prompts, stream=True, cancel=cancel, **self._words)
        else:
            said = self._spoken_to()
            pieces = said.say(line, recompute=True, stream=True, cancel=cancel, **self._words)
        for piece in pieces:
            last = time.perf_counter() - began
            first = first or last
            tokens, ended = tokens + len(piece.tokens), piece.ended
            yield piece
        if tokens or ended != CANCELLED:
            self._note(Cost(tokens, first, last), before)

    def whole(self, line: str, cancel: "Cancel") -> "GeneratedText":
        """Says a line, and gives the answer when it is at its end."""
        before, self.forgotten = self._turns(), 0
        answer: GeneratedText
        if self.style.form is not None:
            (answer,) = self.session.generate([self._prompt(line)], cancel=cancel, **self._words)
        else:
            said = self._spoken_to()
            answer = said.say(line, recompute=True, cancel=cancel, **self._words)
        if answer.tokens or answer.ended != CANCELLED:
            cost = Cost(len(answer.tokens), answer.seconds_to_first, answer.seconds)
            self._note(cost, before)
        return answer

    def _prompt(self, line: str) -> str:
        assert self.style.form is not None
        return self.style.form.replace("{}", line)

    def _spoken_to(self) -> "Conversation":
        return self._new_conversation() if self.conversation is None else self.conversation

    def _new_conversation(self) -> "Conversation":
        style = self.style
        return self.session.conversation(
            system=style.system, max_tokens=style.context, when_full=DROP
        )

    def _turns(self) -> int:
        said = [] if self.conversation is None else self.conversation.messages
        return sum(message["role"] == "user" for message in said)

    def _note(self, cost: Cost, turns_before: int) -> None:
        self.costs.append(cost)
        self.forgotten = 0 if self.conversation is None else turns_before + 1 - self._turns()
