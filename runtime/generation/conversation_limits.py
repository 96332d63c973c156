"""The limit of a conversation, and what goes when it is reached."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osd_edge.data.arguments import as_whole, described
from osd_edge.errors import Code, ConversationError, InputError
from osd_edge.formats.package.chat import ASSISTANT, SYSTEM, USER, Message
from osd_edge.formats.package.generation import Generation

REFUSE, DROP = "refuse", "drop"
_MOST = 1 << 48  # no limit at all, and a number that a file gives back as it is


@dataclass(frozen=True)
class ConversationLimits:
    """The most tokens and bytes of keys that a conversation may have, and what happens then.

    `when_full` is `refuse`, or `drop`, which forgets the oldest turns.
    """

    max_tokens: int | None = None
    max_bytes: int | None = None
    when_full: str = REFUSE

    def checked(self) -> "ConversationLimits":
        """Gives the same with plain numbers. Raises InputError `input.number`, `input.options`."""
        if not isinstance(self.when_full, str) or self.when_full not in (REFUSE, DROP):
            raise InputError(
                Code.INPUT_OPTIONS,
                f"when_full: expected {REFUSE} or {DROP}, found {described(self.when_full)}",
            )
        tokens, size = self.max_tokens, self.max_bytes
        return ConversationLimits(
            None if tokens is None else min(_MOST, as_whole(tokens, "max_tokens", 1)),
            None if size is None else min(_MOST, as_whole(size, "max_bytes", 1)),
            self.when_full,
        )

    def tokens(self, facts: Generation) -> int:
        """The most tokens over a base with these facts."""
        limits = [facts.context]
        if self.max_tokens is not None:
            limits.append(self.max_tokens)
        if self.max_bytes is not None:
            limits.append(self.max_bytes // facts.bytes_of_a_token)
        return min(limits)

    def within(
        self,
        messages: Sequence[Message],
        encode: Callable[[Sequence[Message]], list[int]],
        most: int,
        wanted: int,
    ) -> tuple[list[Message], list[int]]:
        """Gives messages and their tokens, without the oldest turns where those are to be dropped.

        An answer has room for one token at least, and for `wanted`, or half of `most`, where turns
        are dropped. Raises ConversationError `conversation.full`.
        """
        kept = list(messages)
        tokens = encode(kept)
        room = min(wanted, most // 2)
        if self.when_full == DROP and len(tokens) + room > most:
            # The later a user's message, the fewer tokens from there on: of thousands of messages
            # few beginnings need to be looked at. The last one stays.
            users = [i for i, message in enumerate(messages) if message.role == USER]
            at = bisect_left(
                users,
                True,
                lo=1,
                hi=max(1, len(users) - 1),
                key=lambda user: len(encode(_later(messages, user))) + room <= most,
            )
            if at < len(users):
                kept = _later(messages, users[at])
                tokens = encode(kept)
        if len(tokens) >= most:
            ways = "begin another conversation, or let it drop the oldest turns (when_full='drop')"
            if self.when_full == DROP:  # which is all that there was to drop
                ways = "shorten what is said"
            raise ConversationError(
                Code.CONVERSATION_FULL,
                f"expected fewer than {most} tokens, found {len(tokens)}: {ways}",
            )
        return kept, tokens


def _later(messages: Sequence[Message], user: int) -> list[Message]:
    """Messages from number `user` on, behind the system's at the beginning."""
    first = next((i for i, message in enumerate(messages) if message.role != SYSTEM), 0)
    return [*messages[:first], *messages[user:]]


def turn(text: object, answer: str | None = None) -> list[Message]:
    """A user's message and, where there is one, its answer. Raises InputError `input.texts`."""
    if not isinstance(text, str) or not text:
        raise InputError(Code.INPUT_TEXTS, "text: expected a text that is not empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(Code.INPUT_TEXTS, "text: expected valid Unicode") from error
    said = [Message(USER, text)]
    return said if answer is None else [*said, Message(ASSISTANT, answer)]
