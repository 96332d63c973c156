"""Answers of tasks that write no text: vectors as OpenAI has them, and all kinds in a form of ours.

One thread asks, a few texts at a time, so that a request that was given up ends soon.
"""

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from osd_edge.errors import ApiError, Code, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.api.exchange import Exchange
from osd_edge.runtime.api.fields import BodyFields, field_refused
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.models import Models
from osd_edge.runtime.generation.scheduler import stopped
from osd_edge.runtime.kinds import KINDS, Embedding, Generate, expect_kind
from osd_edge.runtime.session import EdgeSession

T = TypeVar("T")
_Given = dict[str, Any]


class Asking:
    """Asks a session's tasks, in one thread."""

    def __init__(
        self, session: EdgeSession, models: Models, limits: ApiLimits, at_once: int
    ) -> None:
        """Takes what is asked, and how many texts go through it at once."""
        self._session, self._models, self._limits = session, models, limits
        self._at_once = at_once
        self._thread = ThreadPoolExecutor(1, "osd-edge ask")
        self._stopped = threading.Event()
        self._asked = 0

    async def embeddings(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Answers with a vector for each text.

        Raises ApiError, TaskError `task.kind` for a task of another kind.
        """
        fields = BodyFields(body)
        model, task = self._task(fields)
        expect_kind(task, self._session.kind(task), Embedding)
        texts = fields.texts("input", self._limits.texts)
        form = fields.take("encoding_format", "float")
        if form not in ("float", "base64"):
            raise field_refused("encoding_format", "expected float or base64")
        dimensions = fields.take("dimensions")
        fields.ignore("user")
        fields.end()
        vectors, tokens = await self._run(lambda end: self._embed(task, texts, end))
        if dimensions is not None and dimensions != vectors.shape[1]:
            raise field_refused("dimensions", f"this task gives {vectors.shape[1]}: leave it out")
        data = [
            {"object": "embedding", "index": i, "embedding": _numbers(vector, form)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await exchange.answer(200, {"object": "list", "data": data, "model": model, "usage": usage})

    async def ask(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Answers with what a task of any kind but text gives for each text, as plain values.

        Raises ApiError, and what `EdgeSession.ask` raises.
        """
        fields = BodyFields(body)
        model, task = self._task(fields)
        kind = KINDS[self._session.kind(task)]
        if isinstance(kind, Generate):
            raise TaskError(
                Code.TASK_KIND, f"{task!r} writes text: ask /v1/chat/completions, /v1/completions"
            )
        texts = fields.texts("input", self._limits.texts)
        heard = ("question", "max_length") if kind.takes_question else ("max_length",)
        given: _Given = {name: fields.take(name) for name in heard}
        pairs = fields.take("pairs")
        if pairs is not None:
            pairs = BodyFields({"pairs": pairs}).texts("pairs", self._limits.texts)
            if len(pairs) != len(texts):
                raise field_refused("pairs", f"expected {len(texts)}, found {len(pairs)}")
        fields.end()
        entries = await self._run(lambda end: self._entries(task, texts, pairs, given, end))
        data = [{"object": "answer", "index": i, "entries": own} for i, own in enumerate(entries)]
        await exchange.answer(
            200, {"object": "list", "data": data, "model": model, "kind": kind.name}
        )

    def stop(self) -> None:
        """Refuses what is being asked, after the part that is asked now, with `api.stopped`."""
        self._stopped.set()

    def close(self) -> None:
        """Ends the thread, after the part that it is asked now."""
        self.stop()
        self._thread.shutdown(cancel_futures=True)

    def _task(self, fields: BodyFields) -> tuple[str, str]:
        """The name of a model that is a task, and the task's."""
        model = fields.text("model")
        task = self._models.task(model)
        if task is None:
            raise TaskError(Code.TASK_NONE, f"{model!r} is the base alone: name a task")
        return model, task

    def _embed(self, task: str, texts: list[str], end: threading.Event) -> tuple[Floats, int]:
        vectors, tokens = [], 0
        for of in self._parts(len(texts), end):
            inputs = self._session.encode(texts[of])
            logits = self._session.run(inputs, task=task).logits
            assert logits is not None
            vectors.append(logits)
            tokens += int(inputs["attention_mask"].sum())
        return np.concatenate(vectors), tokens

    def _entries(
        self,
        task: str,
        texts: list[str],
        pairs: list[str] | None,
        given: _Given,
        end: threading.Event,
    ) -> list[list[_Given]]:
        kind = KINDS[self._session.kind(task)]
        answers: list[Any] = []
        for of in self._parts(len(texts), end):
            seconds = None if pairs is None else pairs[of]
            answers += self._session.ask(texts[of], seconds, task=task, **given)
        # Without the text, which each entry would have once more.
        return [
            [{k: v for k, v in entry.items() if k != "text"} for entry in kind.entries(text, own)]
            for text, own in zip(texts, answers, strict=True)
        ]

    def _parts(self, count: int, end: threading.Event) -> Iterator[slice]:
        """The parts of so many texts that go through at once, until nobody wants the rest."""
        for at in range(0, count, self._at_once):
            if end.is_set() or self._stopped.is_set():
                raise stopped()
            yield slice(at, at + self._at_once)

    async def _run(self, work: Callable[[threading.Event], T]) -> T:
        """Has the thread work; it is told to end where nobody waits for it any more."""
        if self._asked >= self._limits.waiting:
            raise ApiError(
                Code.API_BUSY,
                f"expected fewer than {self._limits.waiting} requests to wait: ask again later",
            )
        end = threading.Event()
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, end)
        finally:
            self._asked -= 1
            end.set()


def _numbers(vector: Floats, form: str) -> list[float] | str:
    if form == "base64":  # of float32, the least byte first
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
