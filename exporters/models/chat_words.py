"""Derives the words around messages from what a template makes of known contents.

Contents that stand nowhere else show where each message is in the text; what stands between two is
the end of one message and the beginning of the next. Where one ends and the other begins is not
seen, and changes nothing as long as messages are in turn: every way to cut is a candidate, those
with whole tokens only, the likeliest first. `chat_proof` chooses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from osd_edge.exporters.models.chat_reference import ChatReference
from osd_edge.formats.package.chat import ASSISTANT, ROLES, SYSTEM, USER, ChatFormat, Message

_S, _U, _A, _V = "qzsystemzq", "qzuserzq", "qzanswerzq", "qzotherzq"
_PADDED = " \n qzpaddedzq \n "
_THOUGHT = "</think>"


@dataclass(frozen=True)
class _Words:
    """The texts between contents, as far as conversations show them.

    `left` stands before the first user's message, `tail` after the last; `to_answer` from a user's
    message to an answer, `to_user` from an answer to a user's message, `again` from one user's
    message to another's, None where the template refuses it. `system` has what stands before and
    after a system message, None where there is no place for one.
    """

    left: str
    tail: str
    to_answer: str
    to_user: str
    again: str | None
    system: tuple[str, str] | None


def candidate_words(reference: ChatReference) -> list[ChatFormat]:
    """Formats that may be that of the template, the likeliest first; none where there is no hope.

    None of them has `in_turns` set.
    """
    words = _observed(reference)
    if words is None or _tells_the_date(reference):
        return []
    trim = tuple(role for role in ROLES if _trims(reference, role))
    forget = _THOUGHT if _forgets(reference) else None
    found = [
        replace(chat, trim=tuple(role for role in trim if role in chat.roles), forget=forget)
        for chat in _cut(words, reference)
    ]
    # A beginning of its own is that of the whole text, and nothing more.
    return sorted(found, key=lambda chat: (len(chat.begin), not chat.roles[ASSISTANT][1]))


def _observed(reference: ChatReference) -> _Words | None:
    one = _between(reference, [(USER, _U)])
    turns = _between(reference, [(USER, _U), (ASSISTANT, _A), (USER, _V)])
    if one is None or turns is None or (turns[0], turns[3]) != tuple(one):
        return None
    left, to_answer, to_user, tail = turns
    again = _between(reference, [(USER, _U), (USER, _V)])
    if again is not None and (again[0], again[2]) != (left, tail):
        return None
    system = _between(reference, [(SYSTEM, _S), (USER, _U)])
    if system is not None and system[2] != tail:
        return None
    return _Words(
        left,
        tail,
        to_answer,
        to_user,
        None if again is None else again[1],
        None if system is None else (system[0], system[1]),
    )


def _between(reference: ChatReference, turns: Sequence[tuple[str, str]]) -> list[str] | None:
    """Gives the text before, between and after contents; None unless each is there, once."""
    rest = reference.text([Message(*turn) for turn in turns])
    if rest is None or any(rest.count(content) != 1 for _, content in turns):
        return None
    parts = []
    for _, content in turns:
        part, found, rest = rest.partition(content)
        if not found:
            return None
        parts.append(part)
    return [*parts, rest]


def _cut(words: _Words, reference: ChatReference) -> Iterator[ChatFormat]:
    for user in _common_ends(words.left, words.to_user, reference.special_tokens):
        after_answer = words.to_user.removesuffix(user)
        for after_user in _ends_of_users(words, user, after_answer):
            around = {
                USER: (user, after_user),
                ASSISTANT: (words.to_answer.removeprefix(after_user), after_answer),
            }
            chat = ChatFormat("", around, words.tail.removeprefix(after_user))
            yield from _with_system(chat, words, reference.bos)


def _ends_of_users(words: _Words, user: str, after_answer: str) -> Iterator[str]:
    """Yields what may stand after a user's message."""
    if words.again is not None:
        ends = [words.again.removesuffix(user)] if words.again.endswith(user) else []
    else:
        ends = [after_answer, _common_beginning(words.to_answer, words.tail)]
    for end in dict.fromkeys(ends):
        if words.to_answer.startswith(end) and words.tail.startswith(end):
            yield end


def _with_system(chat: ChatFormat, words: _Words, bos: str) -> Iterator[ChatFormat]:
    """`chat` with its beginning, and with what stands around a system message."""
    user = chat.roles[USER][0]
    begin = words.left.removesuffix(user)
    if words.system is None:
        yield replace(chat, begin=begin)
        return
    before, after = words.system
    if before.startswith(begin) and after.endswith(user):
        around = before.removeprefix(begin), after.removesuffix(user)
        yield replace(chat, begin=begin, roles={SYSTEM: around, **chat.roles})
    if before.startswith(begin + user):
        around = before.removeprefix(begin + user), after
        yield replace(chat, begin=begin, roles={SYSTEM: around, **chat.roles}, merge_system=True)
    whole = len(before) + len(after) <= len(words.left)
    if whole and words.left.startswith(before) and words.left.endswith(after):
        default = words.left[len(before) : len(words.left) - len(after)]
        for first in ("", bos):
            if before.startswith(first) and after.endswith(user):
                around = before.removeprefix(first), after.removesuffix(user)
                roles = {SYSTEM: around, **chat.roles}
                yield replace(chat, begin=first, roles=roles, default_system=default)


def _common_ends(one: str, other: str, tokens: Sequence[str]) -> Iterator[str]:
    """Texts in which both end, the longest first, that begin within none of `tokens`."""
    length = _common_beginning_length(one[::-1], other[::-1])
    for size in range(length, -1, -1):
        cuts = ((text, len(text) - size) for text in (one, other))
        if not any(_within_a_token(text, at, tokens) for text, at in cuts):
            yield one[len(one) - size :]


def _within_a_token(text: str, at: int, tokens: Sequence[str]) -> bool:
    """Says whether the cut at `at` goes through one of `tokens` in the text."""
    return any(
        text.find(token, max(0, at - len(token) + 1), at + len(token) - 1) != -1
        for token in tokens
        if len(token) > 1
    )


def _common_beginning(one: str, other: str) -> str:
    return one[: _common_beginning_length(one, other)]


def _common_beginning_length(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((i for i in range(shorter) if one[i] != other[i]), shorter)


def _tells_the_date(reference: ChatReference) -> bool:
    alone, with_system = [Message(USER, _U)], [Message(SYSTEM, _S), Message(USER, _U)]
    return any(
        reference.text(messages, day="qz1") != reference.text(messages, day="qz2")
        for messages in (alone, with_system)
    )


def _trims(reference: ChatReference, role: str) -> bool:
    turns = {SYSTEM: _S, USER: _U, ASSISTANT: _A} | {role: _PADDED}
    order = (SYSTEM, USER, ASSISTANT) if role == SYSTEM else (USER, ASSISTANT)
    messages = [Message(one, turns[one]) for one in order]
    text = reference.text([*messages, Message(USER, _V)])
    return text is not None and _PADDED not in text and _PADDED.strip() in text


def _forgets(reference: ChatReference) -> bool:
    answer = f"<think>\nqzthoughtzq\n{_THOUGHT}\n\n{_A}"
    text = reference.text([Message(USER, _U), Message(ASSISTANT, answer), Message(USER, _V)])
    return text is not None and "qzthoughtzq" not in text and _A in text
