"""Turns prompts into tokens: texts, messages of a conversation, or token ids as they are."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osd_edge.data.arguments import described
from osd_edge.data.raised_by import raised_by
from osd_edge.errors import BaseError, Code, InputError, shown
from osd_edge.formats.package.chat import ChatFormat, Message, messages_of
from osd_edge.formats.package.chat_template import ChatTemplate
from osd_edge.formats.package.generation import Generation
from osd_edge.runtime.generation.breaker import Breaker
from osd_edge.runtime.inputs import as_list
from osd_edge.runtime.kept_tokenizer import KeptTokenizer

Prompt = str | Sequence[Mapping[str, str]] | Sequence[int] | NDArray[Any]


class PromptEncoder:
    """Turns prompts into tokens, as transformers does. Safe to use from many threads.

    A special token that stands in a message's content stays text: it is broken by a token that
    nobody knows, and that is taken out again.
    """

    def __init__(self, tokenizer: KeptTokenizer, facts: Generation) -> None:
        """Takes the tokenizer and the facts of a base that writes text."""
        self._kept = tokenizer
        self._facts = facts
        self._made: tuple[Breaker, int] | None = None  # with the first messages

    @property
    def tokenizer(self) -> Any:
        """The tokenizer. Raises InputError `input.tokenizers`, BaseError `base.text`."""
        return self._kept.read()[0]

    def tokens(self, prompt: object) -> list[int]:
        """Gives the tokens of a prompt of any sort.

        Raises InputError `input.prompt`, `input.messages`, `input.role`, `input.tokenizers`,
        BaseError `base.chat`, `base.text`.
        """
        if isinstance(prompt, str):
            found = self.of_text(prompt)
        else:
            listed = as_list(prompt)
            if not isinstance(listed, Sequence) or isinstance(listed, bytes | bytearray):
                raise _no_prompt(prompt)
            if listed and isinstance(listed[0], Mapping | Message):
                found = self.of_messages(messages_of(listed))
            else:
                found = self.of_ids(listed)
        if not found:
            raise InputError(Code.INPUT_PROMPT, "expected a prompt, found an empty one")
        return found

    def of_text(self, text: str) -> list[int]:
        """Gives the tokens of a text, of which special tokens are what they are."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(Code.INPUT_PROMPT, "a prompt is not valid Unicode") from error
        return self._encode(text, add_special_tokens=True) if text else []

    def of_ids(self, ids: Sequence[Any]) -> list[int]:
        """Checks token ids."""
        array = np.asarray(ids) if all(_is_whole(x) for x in ids) else np.zeros(0, np.float32)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise _no_prompt(ids)
        if array.min() < 0 or array.max() >= self._facts.vocabulary:
            raise InputError(
                Code.INPUT_PROMPT,
                f"expected token ids below {self._facts.vocabulary}, found "
                f"{array.min()} to {array.max()}",
            )
        return [int(x) for x in array]

    def of_messages(self, messages: Sequence[Message], *, answer: bool = True) -> list[int]:
        """Gives the tokens of messages, and with `answer` of the words before an answer.

        Raises InputError `input.role`, BaseError `base.chat`, `base.text`.
        """
        chat = self._facts.chat
        if chat is None:
            raise no_chat()
        if self._made is None:
            self._made = self._breaker()
        breaker, number = self._made
        if isinstance(chat, ChatFormat):
            parts = chat.render(messages, answer=answer)
            text, apart = breaker.joined(parts), partial(breaker.joined_apart, parts)
        else:  # which tells no content from its own words
            render = partial(_rendered, chat, messages, answer)
            text, apart = breaker.rendered(render), partial(render, breaker.apart)
        ids = self._encode(text, add_special_tokens=False)
        looked_for = self._looked_for_in_normalised_text()
        if looked_for:
            surely = self._encode(apart(), add_special_tokens=False)
            if sum(id_ in looked_for for id_ in ids) > sum(id_ in looked_for for id_ in surely):
                ids = surely
        return [id_ for id_ in ids if id_ != number]

    def _looked_for_in_normalised_text(self) -> set[int]:
        """Ids of special tokens that other texts than their own may come to be."""
        if self.tokenizer.normalizer is None:
            return set()
        added = self.tokenizer.get_added_tokens_decoder()
        return {id_ for id_, token in added.items() if token.special and token.normalized}

    def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        tokenizer = self.tokenizer
        try:
            with self._kept.lock:  # what it cuts to is a state of the tokenizer
                tokenizer.no_truncation()
                ids: list[int] = tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        except BaseException as error:  # the package's panics are no Exception
            if not raised_by("tokenizers", error):
                raise
            raise BaseError(Code.BASE_TEXT, f"the tokenizer fails: {shown(str(error))}") from error
        return ids

    def _breaker(self) -> tuple[Breaker, int]:
        """Gives what breaks the tokens that content is kept from, and the id of its token."""
        name, number = self._kept.own_token()
        added = self.tokenizer.get_added_tokens_decoder().values()
        words = _words_of(self._facts)
        # White space is nobody's control token, though Gemma has tokens of its own for lines.
        own = (x.content for x in added if x.special or x.content in words)
        control = [text for text in own if text.strip()]
        return Breaker(name, [text for text in control if text != name]), number


def _rendered(
    chat: ChatTemplate, messages: Sequence[Message], answer: bool, harmless: Callable[[str], str]
) -> str:
    given = [Message(message.role, harmless(message.content)) for message in messages]
    return "".join(part.text for part in chat.render(given, answer=answer))


def no_chat() -> BaseError:
    """The refusal of messages by a base whose model was taught no conversations."""
    return BaseError(
        Code.BASE_CHAT, "this base's model has no chat template: give prompts as texts"
    )


def _words_of(facts: Generation) -> str:
    """All words of a form of conversations, one after the other."""
    chat = facts.chat
    if isinstance(chat, ChatFormat):
        around = [word for words in chat.roles.values() for word in words]
        return "\n".join((chat.begin, *around, chat.answer))
    return "" if chat is None else "\n".join((chat.source, chat.bos, chat.eos))


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _no_prompt(found: object) -> InputError:
    return InputError(
        Code.INPUT_PROMPT,
        f"expected a prompt as a text, as messages or as token ids, found {described(found)}",
    )
