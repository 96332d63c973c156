"""One row of a batch while its answer is written: its tokens, its text, why it ended."""

import time
from collections.abc import Collection
from typing import Any

import numpy as np

from osd_edge.errors import BaseError, Code, OsdEdgeError, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.results import (
    CANCELLED,
    CONTEXT,
    LENGTH,
    REFUSED,
    STOP,
    GeneratedText,
    Piece,
)
from osd_edge.runtime.generation.sampling import next_token
from osd_edge.runtime.generation.text_stream import TextStream
from osd_edge.runtime.task import DecodedTask


class AnswerRow:
    """A prompt and its answer so far.

    Attributes:
        number: The number of the prompt among those that were given.
        name: The task's name, None for the base alone.
        task: The task, None for the base alone or until it is known.
        prompt: The prompt's tokens.
        answer: The answer's tokens so far.
        ended: Why it ended, None while it goes on.
        error: The refusal that ended it.
    """

    def __init__(self, number: int, name: str | None) -> None:
        """Begins at the time of the call."""
        self.number = number
        self.name = name
        self.task: DecodedTask | None = None
        self.prompt: list[int] = []
        self.answer: list[int] = []
        self.ended: str | None = None
        self.error: OsdEdgeError | None = None
        self._texts: list[str] = []
        self._began = time.perf_counter()
        self._first = self._last = 0.0

    def start(self, settings: AnswerSettings, context: int, tokenizer: Any) -> None:
        """Gets ready to write; prompt and answer have `context` tokens at most together."""
        self._settings = settings
        self._room = context - len(self.prompt)
        self._generator = settings.generator(self.number)
        self._stream = TextStream(tokenizer, settings.stop)

    @property
    def tokens(self) -> list[int]:
        """All tokens, of prompt and answer."""
        return self.prompt + self.answer

    @property
    def most(self) -> int:
        """The most tokens that prompt and answer may come to together."""
        return len(self.prompt) + min(self._room, self._settings.max_tokens)

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._texts)

    def advance(self, logits: Floats, stop_ids: Collection[int]) -> Piece:
        """Takes the logits `[vocabulary]` after its last token, and gives what comes next."""
        try:
            token = self._next(logits)
        except OsdEdgeError as error:
            return self.refuse(error)
        self._last = time.perf_counter() - self._began
        self._first = self._first or self._last
        if token in stop_ids:
            return self.end(STOP)
        self.answer.append(token)
        try:
            text = self._stream.step(token)
        except OsdEdgeError as error:
            return self.refuse(error)
        if self._stream.stopped:
            return self.end(STOP, text, (token,))
        if len(self.answer) >= self._settings.max_tokens:
            return self.end(LENGTH, text, (token,))
        if len(self.answer) >= self._room:
            return self.end(CONTEXT, text, (token,))
        return self._piece(text, (token,))

    def end(self, why: str, text: str = "", tokens: tuple[int, ...] = ()) -> Piece:
        """Ends the answer, and gives its last piece."""
        self.ended = why
        return self._piece(text + self._stream.end(), tokens)

    def cancel(self) -> Piece:
        """Ends the answer since the caller wants no more of it."""
        return self.end(CANCELLED)

    def refuse(self, error: OsdEdgeError) -> Piece:
        """Ends the row by a refusal; what was written remains."""
        self.error, self.ended = error, REFUSED
        return self._piece("", ())

    def result(self) -> GeneratedText:
        """The whole answer, once it has ended."""
        assert self.ended is not None
        return GeneratedText(
            self.text,
            tuple(self.answer),
            self.ended,
            len(self.prompt),
            self._first,
            self._last,
            self.name,
            self.error,
        )

    def _next(self, logits: Floats) -> int:
        if not np.isfinite(logits).all():
            raise self._not_finite()
        # All tokens only where they are looked at: there may be thousands.
        sampling = self._settings.sampling
        tokens = self.tokens if sampling.repetition_penalty != 1 else ()
        return next_token(logits, tokens, sampling, self._generator)

    def _not_finite(self) -> OsdEdgeError:
        ways = "check the base with 'osd-edge verify', else export it again"
        if self.name is None:
            return BaseError(
                Code.BASE_GRAPH, f"the base gives NaN or infinity for this prompt: {ways}"
            )
        return TaskError(
            Code.TASK_NOT_FINITE,
            f"task {self.name!r} gives NaN or infinity for this prompt: {ways}",
        )

    def _piece(self, text: str, tokens: tuple[int, ...]) -> Piece:
        if text:
            self._texts.append(text)
        return Piece(self.number, text, tokens, self.ended, self.error)
