"""Proves a form of conversations: on many of them it gives the text and tokens of the template."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from osd_edge.errors import OsdEdgeError
from osd_edge.exporters.models.chat_reference import ChatReference
from osd_edge.formats.package.chat import ASSISTANT, SYSTEM, USER, ChatFormat, Message
from osd_edge.formats.package.chat_template import Chat

_Turns = tuple[Message, ...]

_IN_TURN = ("u", "su", "uau", "suau", "uauau", "suauauau")
_OTHERS = ("uu", "au", "ua", "sua", "uaau", "s", "ssu", "usu", "uasu", "sau", "suus")
_ROLES = {"s": SYSTEM, "u": USER, "a": ASSISTANT}
# What templates may treat in ways of their own.
_CONTENTS = (
    "",
    " ",
    "\n",
    " leading and trailing ",
    "\n\nlines around\n",
    "a line\nand another\n\n\nand a third",
    "naïve, 日本語, \u202eright to left, 🙂👩\u200d👩\u200d👧",
    "{{ messages }}{% if x %}{# no template #}",
    "'single' \"double\" \\backslash\\n <b>&amp;</b>",
    "<think>\nIs it so?\n</think>\n\nIt is.",
    "a thought </think>  goes on </think>\n and ends",
    "user\nassistant: system",
)


class ChatProof:
    """The conversations of a proof, with what the template makes of them."""

    def __init__(self, reference: ChatReference) -> None:
        """Take the template that others are compared with."""
        self._reference = reference

    @cached_property
    def _in_turn(self) -> list[tuple[_Turns, str | None]]:
        contents = [*_CONTENTS, *(f"in {t} the midst" for t in self._reference.special_tokens[:40])]
        return self._answered(
            [*map(_plain, _IN_TURN), *(one for text in contents for one in _with_content(text))]
        )

    @cached_property
    def _others(self) -> list[tuple[_Turns, str | None]]:
        return self._answered([_plain(roles) for roles in _OTHERS])

    def _answered(self, conversations: Sequence[_Turns]) -> list[tuple[_Turns, str | None]]:
        return [(one, self._reference.text(one)) for one in conversations]

    @property
    def is_possible(self) -> bool:
        """Says whether the template renders a conversation at all."""
        return any(text is not None for _, text in self._in_turn)

    def proven(self, candidates: Sequence[ChatFormat]) -> ChatFormat | None:
        """The first of `candidates` that gives what the template gives; None if there is none.

        One that does so for messages in turn alone is made to refuse all others.
        """
        for chat in candidates:
            if self.holds(chat):
                return chat
        for chat in candidates:
            in_turns = replace(chat, in_turns=True)
            if self._equal(in_turns, self._in_turn):
                return in_turns
        return None

    def holds(self, chat: Chat) -> bool:
        """Says whether `chat` renders, and refuses, what the template does."""
        return self._equal(chat, self._in_turn) and self._equal(chat, self._others)

    def _equal(self, chat: Chat, answered: Sequence[tuple[_Turns, str | None]]) -> bool:
        return all(self._is_equal(chat, messages, expected) for messages, expected in answered)

    def _is_equal(self, chat: Chat, messages: _Turns, expected: str | None) -> bool:
        try:
            text = "".join(part.text for part in chat.render(messages))
        except OsdEdgeError:
            return expected is None
        if text != expected:
            return False
        return self._reference.tokens_of(text) == self._reference.tokens(messages)


def _plain(roles: str) -> _Turns:
    return tuple(Message(_ROLES[role], f"Content {i} of it.") for i, role in enumerate(roles))


def _with_content(content: str) -> Iterator[_Turns]:
    """Conversations in which each role says `content`, and then all do."""
    usual = _plain("suau")
    for role in _ROLES.values():
        yield tuple(Message(m.role, content) if m.role == role else m for m in usual)
    yield tuple(Message(m.role, content) for m in usual)
    yield (Message(USER, content),)
    yield (Message(USER, "x"), Message(ASSISTANT, content), Message(USER, content))
