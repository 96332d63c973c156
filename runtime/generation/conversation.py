"""A conversation: messages, their tokens, and the keys that a task made of them.

Keys are of use to the task alone that made them: with another's, answers are worse than with none,
and nothing shows it. So they are bound to the digest of the task's bundle, and made anew or refused
where another task is to answer. They are kept for as many tokens as the next prompt begins with.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

from osd_edge.data.arguments import as_path, expect
from osd_edge.data.files import write_file
from osd_edge.errors import Code, ConversationError, InputError, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.chat import Message
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.conversation_file import (
    SavedConversation,
    conversation_bytes,
    read_conversation,
)
from osd_edge.runtime.generation.conversation_limits import ConversationLimits, turn
from osd_edge.runtime.generation.generate import (
    Cancel,
    cancellation,
    facts_of,
    tokenizer_of,
    writing_task,
)
from osd_edge.runtime.generation.key_cache import KeyCache
from osd_edge.runtime.generation.loop import Cancelled, key_cache, write
from osd_edge.runtime.generation.prompts import PromptEncoder, no_chat
from osd_edge.runtime.generation.results import STOP, GeneratedText, Piece
from osd_edge.runtime.generation.sampling import Sampling
from osd_edge.runtime.lifetime import Lifetime
from osd_edge.runtime.loaded_tasks import TaskOrBase
from osd_edge.runtime.parts import Parts
from osd_edge.runtime.task import DecodedTask


@dataclass
class _Keys:
    """A cache of one row, the tokens that it has keys of, and the task that they are of."""

    cache: KeyCache
    tokens: list[int] = field(default_factory=list)
    digest: str | None = None


class Conversation:
    """A conversation with a task, or with the base alone, over a session.

    Tokens and keys are its own, so that what is said next costs what is new. One call at a time:
    conversations beside each other may answer in as many threads. `EdgeSession.conversation`
    begins one.

    Args:
        lifetime: of the session that it is over.
        task: the task that it is with, as `EdgeSession.conversation` takes it.
        limits: how long it may become.
        messages: those that it begins with.

    Example:
        >>> session = EdgeSession("smollm2")
        >>> conversation = session.conversation(system="Answer in a few words.")
        >>> conversation.say("What is the capital of France?", max_tokens=4)
        GeneratedText(text='...', ...)
        >>> [message["role"] for message in conversation.messages]
        ['system', 'user', 'assistant']
    """

    def __init__(
        self,
        lifetime: Lifetime[Parts],
        task: TaskOrBase,
        limits: ConversationLimits,
        messages: Sequence[Message] = (),
    ) -> None:
        self._lifetime = lifetime
        self._wanted = task
        self._limits = limits.checked()
        self._lock = threading.Lock()
        self._messages = list(messages)
        self._tokens: list[int] = []
        parts = lifetime.content
        facts = facts_of(parts)
        if facts.chat is None:
            raise no_chat()
        if self._limits.tokens(facts) < 2:  # one of a prompt, and one of an answer
            raise InputError(
                Code.INPUT_NUMBER,
                f"expected room for two tokens or more, {facts.bytes_of_a_token} bytes of keys "
                f"each, found {self._limits.tokens(facts)}: raise max_tokens or max_bytes",
            )
        decoded = writing_task(parts, task)
        self._name = None if decoded is None else decoded.name
        self._digest = None if decoded is None else decoded.digest

    @classmethod
    def restored(cls, lifetime: Lifetime[Parts], path: Path, *, recompute: bool) -> "Conversation":
        """Restores a conversation from its file, as `EdgeSession.restore_conversation` says."""
        manifest, facts = lifetime.content.base.manifest, facts_of(lifetime.content)
        saved, state = read_conversation(path, manifest, facts)
        try:
            made = cls(lifetime, saved.task, saved.limits, saved.messages)
        except TaskError as error:
            if error.code != Code.TASK_UNKNOWN:
                raise
            raise ConversationError(
                Code.CONVERSATION_TASK,
                f"{path} is a conversation with task {saved.task!r}, which is not loaded: load it",
            ) from error
        if made.digest != saved.digest and not recompute:
            raise ConversationError(
                Code.CONVERSATION_TASK,
                f"{path} has keys of another bundle than the one that is loaded as "
                f"{saved.task!r}: restore it with recompute=True, or load that bundle",
            )
        made._tokens = list(saved.tokens)
        if state is not None and made.digest == saved.digest:
            cache = made._new_cache(lifetime.content)
            cache.restore(state)
            kept = _Keys(cache, made._tokens[: state.shape[2]], saved.digest)
            lifetime.content.keys[made] = kept
        return made

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages so far, as `generate` takes them.

        Example:
            >>> EdgeSession("smollm2").conversation(system="Be brief.").messages
            [{'role': 'system', 'content': 'Be brief.'}]
        """
        return [{"role": m.role, "content": m.content} for m in self._messages]

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens of the last prompt and its answer.

        Example:
            >>> EdgeSession("smollm2").conversation().tokens
            ()
        """
        return tuple(self._tokens)

    @property
    def task(self) -> str | None:
        """The task that answered last, or is to answer first; None for the base alone.

        Example:
            >>> EdgeSession("smollm2").conversation().task is None
            True
        """
        return self._name

    @property
    def digest(self) -> str | None:
        """The digest of that task's bundle, 64 hex digits; None for the base alone.

        Example:
            >>> EdgeSession("smollm2").conversation().digest is None
            True
        """
        return self._digest

    @overload
    def say(
        self,
        text: str,
        *,
        recompute: bool = False,
        stream: Literal[False] = False,
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> GeneratedText: ...

    @overload
    def say(
        self,
        text: str,
        *,
        recompute: bool = False,
        stream: Literal[True],
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]: ...

    def say(
        self,
        text: str,
        *,
        recompute: bool = False,
        stream: bool = False,
        cancel: Cancel = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> GeneratedText | Iterator[Piece]:
        """Says something, and gives the answer. Both are then a part of the conversation.

        After a refusal it is as it was before. An answer that is cancelled, or whose stream is
        closed, remains as far as it came.

        Args:
            text: what the user says.
            recompute: whether keys are made anew where another task than before is to answer.
            stream: whether pieces are given as they come. The call then begins with the first.
            cancel: as for `EdgeSession.generate`, and so are all that follow.
            max_tokens: the most tokens of the answer.
            temperature: how evenly tokens are drawn; 0 takes the likeliest.
            top_k: draws from so many likeliest tokens.
            top_p: draws from the likeliest whose chances add up to it.
            min_p: draws from those at least so many times as likely as the likeliest.
            repetition_penalty: makes tokens that were there less likely, above 1.
            seed: makes draws repeatable.
            stop: texts that end the answer.

        Returns:
            The answer; with `stream` an iterator of its pieces.

        Raises:
            ConversationError: `conversation.task` where the task was swapped, replaced or unloaded
                since the keys were made; `conversation.full`, `conversation.busy`.
            InputError: `input.texts`, `input.number`, `input.type`; `input.role` where the base's
                conversations have no such message.
            BaseError: `base.chat`, `base.text`; `base.graph` for an answer that is not finite.
            TaskError: `task.closed`, `task.fork`, `task.not-finite`.

        Example:
            >>> conversation = EdgeSession("smollm2").conversation()
            >>> conversation.say("Hello!", max_tokens=4).ended in ("stop", "length")
            True
            >>> stream = conversation.say("And now?", max_tokens=4, stream=True)
            >>> {piece.row for piece in stream}
            {0}
        """
        expect(stream, bool, "stream")
        expect(recompute, bool, "recompute")
        _ = self._lifetime.content, turn(text)
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        settings = AnswerSettings(max_tokens, sampling, seed, stop).checked()
        row = AnswerRow(0, self._name)
        pieces = self._turn(row, text, settings, cancellation(cancel), recompute)
        if stream:
            return self._lifetime.guarded(pieces)
        for _ in pieces:
            pass
        return row.result()

    def save(self, path: str | Path) -> None:
        """Writes the conversation to a file, which `EdgeSession.restore_conversation` reads.

        Args:
            path: the file: messages, tokens, keys, and the digests that they are bound to.

        Raises:
            OutputError: the file cannot be written; an earlier one is as it was.
            ConversationError: `conversation.busy`.
            TaskError: `task.closed`, `task.fork`.

        Example:
            >>> session = EdgeSession("smollm2")
            >>> session.conversation(system="Be brief.").save("talk.conversation")
            >>> session.restore_conversation("talk.conversation").messages
            [{'role': 'system', 'content': 'Be brief.'}]
        """
        file = as_path(path, "path")
        parts = self._lifetime.content
        with self._busy():
            keys: _Keys | None = parts.keys.get(self)
            state: Floats | None = None
            if keys is not None and keys.cache.lengths and keys.digest == self._digest:
                state = keys.cache.state()
            saved = SavedConversation(
                tuple(self._messages), self._name, self._digest, self._limits, tuple(self._tokens)
            )
            data = conversation_bytes(parts.base.manifest, saved, state)
        write_file(file, data)

    def _turn(
        self,
        row: AnswerRow,
        text: str,
        settings: AnswerSettings,
        cancelled: Cancelled,
        recompute: bool,
    ) -> Iterator[Piece]:
        parts = self._lifetime.content
        with self._busy():
            task = self._task(parts, recompute=recompute)
            encoder = PromptEncoder(parts.base.tokenizer, facts_of(parts))
            most = self._limits.tokens(facts_of(parts))
            before, row.prompt = self._limits.within(
                [*self._messages, *turn(text)], encoder.of_messages, most, settings.max_tokens
            )
            row.task, row.name = task, None if task is None else task.name
            row.start(settings, most, tokenizer_of(parts, settings))
            keys = self._ready_keys(parts, row.prompt, None if task is None else task.digest)
            kept = len(keys.tokens)
            try:
                yield from write([row], keys.cache, cancelled)
            finally:
                if row.error is not None or not (row.answer or row.ended == STOP):
                    keys.cache.cut(kept)
                    del keys.tokens[sum(keys.cache.lengths) :]  # of a run that was refused: none
                else:
                    keys.tokens = row.tokens[: keys.cache.lengths[0]]
                    keys.cache.cut(len(keys.tokens))  # and lets go of the run
                    self._name, self._digest = row.name, keys.digest
                    self._messages = [*before[:-1], *turn(text, row.text)]
                    self._tokens = row.tokens
            if row.error is not None:
                raise row.error

    def _task(self, parts: Parts, *, recompute: bool) -> DecodedTask | None:
        """Gives the task that is to answer, which must be the one that the keys are of."""
        try:
            task = writing_task(parts, self._wanted)
        except TaskError as error:
            if error.code != Code.TASK_UNKNOWN:
                raise
            raise ConversationError(
                Code.CONVERSATION_TASK,
                f"task {self._wanted!r} of this conversation is not loaded any more: load it again",
            ) from error
        digest = None if task is None else task.digest
        if digest != self._digest and not recompute:
            now = "the base alone" if task is None else f"task {task.name!r}"
            then = "the base alone" if self._name is None else f"task {self._name!r}"
            again = f"{now} of other bytes" if now == then else now
            raise ConversationError(
                Code.CONVERSATION_TASK,
                f"this conversation is with {then}, and {again} is to answer: say it with "
                "recompute=True, or swap back",
            )
        return task

    def _ready_keys(self, parts: Parts, prompt: Sequence[int], digest: str | None) -> _Keys:
        """Gives the keys, cut to what the prompt begins with, its last token apart."""
        keys: _Keys | None = parts.keys.get(self)
        if keys is None or keys.digest != digest:
            keys = parts.keys[self] = _Keys(self._new_cache(parts), [], digest)
        same = 0
        for ours, theirs in zip(keys.tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            same += 1
        keys.cache.cut(same)
        del keys.tokens[same:]
        return keys

    def _new_cache(self, parts: Parts) -> KeyCache:
        return key_cache(parts.base, 1, self._limits.tokens(facts_of(parts)))

    def _busy(self) -> "_Alone":
        return _Alone(self._lock)


class _Alone:
    """Holds a lock that nobody waits for."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise ConversationError(
                Code.CONVERSATION_BUSY,
                "another call is at work on this conversation, or a stream of it is not at its "
                "end: wait for it, or close the stream",
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()
