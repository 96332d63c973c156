"""Chat completions and completions: what they take, and the form of their answers."""

import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from osd_edge.data.arguments import described
from osd_edge.runtime.api.exchange import Exchange
from osd_edge.runtime.api.fields import BodyFields, field_refused
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.models import Models
from osd_edge.runtime.api.written_text import AskedText, TextWriter
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.results import CONTEXT, LENGTH, STOP
from osd_edge.runtime.generation.sampling import Sampling

_MOST_STOPS = 16
_FINISHED = {STOP: "stop", LENGTH: "length", CONTEXT: "length"}
# Fields that are not supported, with the values that change nothing.
_BOTH: dict[str, Collection[Any]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}
_COMPLETIONS = _BOTH | {"suffix": ("",), "echo": (False,), "best_of": (1,), "logprobs": ()}
_CHAT = _BOTH | {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
}
# These tell OpenAI's service what to keep, to bill or to hurry; here they change nothing.
_IGNORED = (
    *("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"),
    *("prompt_cache_retention", "parallel_tool_calls"),
)


@dataclass(frozen=True)
class _Request:
    """A request for text: what is asked, and how the answers are sent."""

    model: str
    asked: AskedText
    stream: bool
    usage: bool  # in a stream


class Route(ABC):
    """An address that answers with text; the two of them have prompts and forms of their own."""

    neutral: ClassVar[Mapping[str, Collection[Any]]]
    prefix: ClassVar[str]  # of an answer's id
    name: ClassVar[str]  # of an answer's kind
    piece_name: ClassVar[str]  # of a streamed one's

    def __init__(self, models: Models, writer: TextWriter, limits: ApiLimits) -> None:
        """Takes what a request names, what writes, and how much at once."""
        self._models, self._writer, self._limits = models, writer, limits

    async def answer(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Answers a request, whole or as events.

        Raises ApiError, and what `EdgeSession.generate` refuses prompts with.
        """
        request = self._request(BodyFields(body))
        rows = await self._writer.rows(request.asked)
        if request.stream:
            await self._streamed(exchange, request, rows)
            return
        async for _ in self._writer.pieces(rows):
            pass
        choices = [
            self.choice(row.text) | _numbered(row, _FINISHED[row.ended or STOP]) for row in rows
        ]
        head = self._head(self.name, request.model)
        await exchange.answer(200, head | {"choices": choices, "usage": _usage(request, rows)})

    @abstractmethod
    def prompts(self, fields: BodyFields) -> list[Any]:
        """Takes the prompts of a request. Raises ApiError `api.field`."""

    @abstractmethod
    def choice(self, text: str) -> dict[str, Any]:
        """The form of a whole answer's text."""

    @abstractmethod
    def piece(self, text: str, *, first: bool) -> dict[str, Any]:
        """The form of a part of the text."""

    def _request(self, fields: BodyFields) -> _Request:
        model = fields.text("model")
        task = self._models.task(model)
        prompts = self.prompts(fields)
        choices = fields.whole("n", 1, self._limits.choices)
        stream, usage = fields.flag("stream"), _wants_usage(fields)
        settings = _settings(fields)
        fields.neutral(self.neutral)
        fields.ignore(*_IGNORED)
        fields.end()
        if len(prompts) * choices > self._writer.most_rows:
            most = self._writer.most_rows
            many = "n" if choices > 1 else "prompt"
            raise field_refused(many, f"expected {most} answers at most to all prompts together")
        return _Request(model, AskedText(task, prompts, choices, settings), stream, usage)

    async def _streamed(
        self, exchange: Exchange, request: _Request, rows: Sequence[AnswerRow]
    ) -> None:
        head = self._head(self.piece_name, request.model)
        if request.usage:
            head["usage"] = None
        begun: set[int] = set()
        async with contextlib.aclosing(self._writer.pieces(rows)) as pieces:
            async for row, piece in pieces:
                if not exchange.begun:  # a refusal before has a status of its own
                    await exchange.begin_events()
                first = row.number not in begun
                if piece.text or (first and piece.ended):
                    begun.add(row.number)
                    form = self.piece(piece.text, first=first)
                    await exchange.event(head | {"choices": [form | _numbered(row, None)]})
                if piece.ended is not None:
                    form = self.piece("", first=False)
                    last = form | _numbered(row, _FINISHED[piece.ended])
                    await exchange.event(head | {"choices": [last]})
        if request.usage:
            await exchange.event(head | {"choices": [], "usage": _usage(request, rows)})
        await exchange.end_events()

    def _head(self, kind: str, model: str) -> dict[str, Any]:
        identity = f"{self.prefix}-{uuid.uuid4().hex}"
        return {"id": identity, "object": kind, "created": int(time.time()), "model": model}


class ChatCompletions(Route):
    """Answers to messages."""

    neutral = _CHAT
    prefix, name, piece_name = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def prompts(self, fields: BodyFields) -> list[Any]:
        """One prompt, of messages."""
        messages = fields.needed("messages")
        if not isinstance(messages, list) or not messages:
            raise field_refused("messages", f"expected a list of them, found {described(messages)}")
        return [[_message(message) for message in messages]]

    def choice(self, text: str) -> dict[str, Any]:
        """A message."""
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def piece(self, text: str, *, first: bool) -> dict[str, Any]:
        """The difference to the message so far."""
        if first:
            return {"delta": {"role": "assistant", "content": text}}
        return {"delta": {"content": text} if text else {}}


class Completions(Route):
    """Answers to texts or token ids, as they are."""

    neutral = _COMPLETIONS
    prefix, name, piece_name = "cmpl", "text_completion", "text_completion"

    def prompts(self, fields: BodyFields) -> list[Any]:
        """A text, several, the ids of one's tokens, or those of several."""
        prompt = fields.needed("prompt")
        if isinstance(prompt, str):
            return [prompt]
        if not isinstance(prompt, list) or not prompt:
            raise field_refused(
                "prompt",
                f"expected a text, token ids, or a list of either, found {described(prompt)}",
            )
        prompts = prompt if isinstance(prompt[0], str | list) else [prompt]
        if len(prompts) > self._limits.texts:
            raise field_refused("prompt", f"expected {self._limits.texts} at most")
        if any(isinstance(one, list) and any(isinstance(x, dict) for x in one) for one in prompts):
            raise field_refused("prompt", "expected no messages: ask /v1/chat/completions")
        return prompts

    def choice(self, text: str) -> dict[str, Any]:
        """A text."""
        return {"text": text}

    def piece(self, text: str, *, first: bool) -> dict[str, Any]:
        """The next part of the text."""
        return {"text": text}


def _numbered(row: AnswerRow, finished: str | None) -> dict[str, Any]:
    return {"index": row.number, "logprobs": None, "finish_reason": finished}


def _usage(request: _Request, rows: Iterable[AnswerRow]) -> dict[str, int]:
    """Counts tokens, those of a prompt once however many answers it has."""
    rows = list(rows)
    read = sum(len(row.prompt) for row in rows[:: request.asked.choices])
    written = sum(len(row.answer) for row in rows)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _settings(fields: BodyFields) -> AnswerSettings:
    """Takes the words that say how answers are written. Raises InputError, ApiError `api.field`."""
    sampling = Sampling(
        temperature=fields.take("temperature", 0.0),
        top_k=fields.take("top_k", 0),
        top_p=fields.take("top_p", 1.0),
        min_p=fields.take("min_p", 0.0),
        repetition_penalty=fields.take("repetition_penalty", 1.0),
    )
    most = fields.take("max_tokens")
    newer = fields.take("max_completion_tokens")
    if most is not None and newer is not None and most != newer:
        raise field_refused("max_tokens", "expected one of this and max_completion_tokens")
    stop = fields.take("stop", ())
    if isinstance(stop, list) and len(stop) > _MOST_STOPS:  # each is looked for at every token
        raise field_refused("stop", f"expected {_MOST_STOPS} texts at most, found {len(stop)}")
    return AnswerSettings(
        max_tokens=next((x for x in (most, newer) if x is not None), AnswerSettings.max_tokens),
        sampling=sampling,
        seed=fields.take("seed"),
        stop=[stop] if isinstance(stop, str) else stop,
    ).checked()


def _wants_usage(fields: BodyFields) -> bool:
    options = fields.take("stream_options", {})
    if not isinstance(options, dict):
        raise field_refused("stream_options", f"expected an object, found {described(options)}")
    inner = BodyFields(options)
    usage = inner.flag("include_usage")
    inner.flag("include_obfuscation")  # against who counts a stream's bytes: there is none here
    inner.end()
    return usage


def _message(message: object) -> dict[str, Any]:
    """A message as a session takes it: the parts of its content are one text."""
    if not isinstance(message, dict):
        raise field_refused("messages", f"expected objects, found {described(message)}")
    fields = BodyFields(message)
    role, content = fields.needed("role"), fields.needed("content")
    fields.neutral(dict.fromkeys(("name", "tool_calls", "function_call", "audio"), ()))
    fields.ignore("refusal", "annotations")
    fields.end()
    if isinstance(content, list):
        content = "".join(map(_part, content))
    return {"role": "system" if role == "developer" else role, "content": content}


def _part(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise field_refused("messages", "expected parts of the type text: nothing else is read here")
