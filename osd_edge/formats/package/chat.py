"""The form in which a base's model was taught conversations, and messages rendered in it.

Models learn a conversation as one text, with words of their own before and after each message. A
`ChatFormat` stores these words. Where they do not suffice, `osd_edge.formats.package.chat_template`
has the template itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osd_edge.data.arguments import described
from osd_edge.errors import Code, InputError, shown

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)
# Fields that a stored format has always; older ones have no more.
_ALWAYS = {"begin", "roles", "answer", "default_system", "trim", "merge_system"}
_MOST_CHARACTERS = 1 << 16  # of one of the words; they are lines


@dataclass(frozen=True)
class Segment:
    """A part of a rendered conversation: words of the format, or someone's `content`.

    A special token that stands in content is text and nothing else.
    """

    text: str
    content: bool = False


@dataclass(frozen=True)
class Message:
    """A message of a conversation: who says it, and its content."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatFormat:
    """The words that stand around the messages of a conversation.

    With `merge_system` a system message has no place of its own: between its prefix and suffix it
    goes before the content of the user's message that follows it.

    Attributes:
        begin: The text before all messages.
        roles: The roles that messages may have, each with what stands before and after a message.
        answer: The text before an answer that is to be written.
        default_system: The system message of conversations that begin without one, None for none.
        trim: The roles whose content loses the white space around it.
        merge_system: Whether a system message goes into the user's message after it.
        in_turns: Whether a conversation has to be the user's and the assistant's messages in turn,
            a user's first and last, after one system message or none. All else is refused.
        forget: The words up to which an assistant's message is left out, with the empty lines
            after them: the end of what it thought, `</think>`. None to leave out nothing.

    >>> chat = ChatFormat("", {"user": ("Q: ", "\\n"), "assistant": ("A: ", "\\n")}, "A:")
    >>> "".join(part.text for part in chat.render([Message("user", "Why?")]))
    'Q: Why?\\nA:'
    """

    begin: str
    roles: Mapping[str, tuple[str, str]]
    answer: str
    default_system: str | None = None
    trim: tuple[str, ...] = field(default=())
    merge_system: bool = False
    in_turns: bool = False
    forget: str | None = None

    def render(self, messages: Sequence[Message], *, answer: bool = True) -> list[Segment]:
        """Renders messages, and with `answer` the words before an answer, as segments.

        Raises InputError `input.role` for a role that the format does not have, a system message
        that no user's follows where it would go into that, or messages that are not in turn.
        """
        if self.in_turns:
            _check_turns(messages, answer=answer)
        parts = [Segment(self.begin)]
        waiting: list[Segment] = []  # a system message, until the user's comes
        if self.default_system is not None and (not messages or messages[0].role != SYSTEM):
            messages = [Message(SYSTEM, self.default_system), *messages]
        for index, message in enumerate(messages):
            prefix, suffix = self._around(message.role)
            content = self._kept(message)
            own = [Segment(prefix), *waiting, Segment(content, content=True), Segment(suffix)]
            if self.merge_system and (message.role == SYSTEM or waiting):
                if message.role != (SYSTEM if index == 0 else USER):
                    raise InputError(
                        Code.INPUT_ROLE,
                        "expected one system message at the beginning and a user's after it, "
                        f"found {shown(message.role)}",
                    )
                if index == 0:
                    waiting = own
                    continue
            waiting = []
            parts += own
        if waiting:
            raise InputError(
                Code.INPUT_ROLE, "expected a user's message after the system message, found none"
            )
        return [part for part in (*parts, Segment(self.answer if answer else "")) if part.text]

    def _kept(self, message: Message) -> str:
        content = message.content
        if self.forget is not None and message.role == ASSISTANT and self.forget in content:
            content = content.rpartition(self.forget)[2].lstrip("\n")
        return content.strip() if message.role in self.trim else content

    def _around(self, role: str) -> tuple[str, str]:
        if role not in self.roles:
            names = ", ".join(self.roles)
            raise InputError(
                Code.INPUT_ROLE, f"expected one of the roles {names}, found {shown(repr(role))}"
            )
        return self.roles[role]


def _check_turns(messages: Sequence[Message], *, answer: bool) -> None:
    """Refuses messages that are not in turn: an assistant's last one where no answer is asked."""
    said = messages[1:] if messages and messages[0].role == SYSTEM else messages
    turns = (USER, ASSISTANT)
    in_turn = all(message.role == turns[i % 2] for i, message in enumerate(said))
    if not said or not in_turn or (answer and said[-1].role != USER):
        found = ", ".join(message.role for message in messages)
        raise InputError(
            Code.INPUT_ROLE,
            "expected the user's and the assistant's messages in turn, the user's first and last, "
            f"found {shown(found, 100)}",
        )


def messages_of(given: object) -> list[Message]:
    """Reads messages as a caller gives them, `{"role": …, "content": …}` each.

    Raises InputError `input.messages`.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or not given:
        raise _no_messages(given)
    return [_message(entry) for entry in given]


def _message(given: object) -> Message:
    if isinstance(given, Message):
        given = {"role": given.role, "content": given.content}
    if not isinstance(given, Mapping) or set(given) != {"role", "content"}:
        raise _no_messages(given)
    role, content = given["role"], given["content"]
    if not isinstance(role, str) or not isinstance(content, str):
        raise _no_messages(given)
    for text in (role, content):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(Code.INPUT_MESSAGES, "a message is not valid Unicode") from error
    return Message(role, content)


def _no_messages(found: object) -> InputError:
    return InputError(
        Code.INPUT_MESSAGES,
        'expected messages {"role": …, "content": …}, both of them texts, found '
        f"{described(found)}",
    )


def chat_format_of(fields: Mapping[str, Any]) -> ChatFormat:
    """Reads a format as `dataclasses.asdict` gave it; ValueError for other than such a one."""
    if not _ALWAYS <= set(fields) <= set(ChatFormat.__dataclass_fields__):
        raise ValueError("a chat format's fields")
    roles = fields["roles"]
    if not isinstance(roles, dict) or not 0 < len(roles) <= len(ROLES) or USER not in roles:
        raise ValueError("a chat format's roles")
    around = {role: _two_texts(words) for role, words in roles.items()}
    trim = fields["trim"]
    if not isinstance(trim, list) or not set(around) <= set(ROLES) or not set(trim) <= set(around):
        raise ValueError("a chat format's roles")
    default, merge = fields["default_system"], fields["merge_system"]
    in_turns, forget = fields.get("in_turns", False), fields.get("forget")
    if type(merge) is not bool or ((merge or default is not None) and SYSTEM not in around):
        raise ValueError("a chat format's system message")
    if type(in_turns) is not bool or forget == "":
        raise ValueError("a chat format's turns")
    return ChatFormat(
        text_of(fields["begin"]),
        around,
        text_of(fields["answer"]),
        None if default is None else text_of(default),
        tuple(trim),
        merge,
        in_turns,
        None if forget is None else text_of(forget),
    )


def text_of(value: object) -> str:
    """Gives a text of the manifest, of at most 65,536 characters; ValueError for all else."""
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise ValueError("a chat format's text")
    return value


def _two_texts(value: object) -> tuple[str, str]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("a chat format's prefix and suffix")
    return text_of(value[0]), text_of(value[1])
