"""Has rows written by the scheduler, and hands their pieces to the loop that serves HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.generate import check_context, prepared, tokenizer_of
from osd_edge.runtime.generation.results import CANCELLED, Piece
from osd_edge.runtime.generation.scheduler import Scheduler, stopped
from osd_edge.runtime.parts import Parts


@dataclass(frozen=True)
class AskedText:
    """Prompts to be answered by a task, None for the base alone: how often each, and how."""

    task: str | None
    prompts: Sequence[Any]
    choices: int
    settings: AnswerSettings


class TextWriter:
    """Answers prompts in the scheduler's batch."""

    def __init__(self, parts: Parts, scheduler: Scheduler) -> None:
        """Takes what prompts become rows with, and what writes them."""
        self._parts, self._scheduler = parts, scheduler

    @property
    def most_rows(self) -> int:
        """The most rows of one request: as many as may wait."""
        return self._scheduler.limits.waiting

    async def rows(self, asked: AskedText) -> list[AnswerRow]:
        """Makes a row for each answer, in a thread: a long text takes its time.

        Raises what `EdgeSession.generate` refuses a prompt with, for the first that is refused.
        """
        return await asyncio.to_thread(self._rows, asked)

    async def pieces(
        self, rows: Sequence[AnswerRow]
    ) -> AsyncGenerator[tuple[AnswerRow, Piece], None]:
        """Gives the pieces of rows as they come; who leaves before the end cancels the rows.

        What waits here is a part of the answers, which are bounded, and so it is too. Raises the
        refusal of a row, ApiError `api.busy`, `api.stopped`.
        """
        loop = asyncio.get_running_loop()
        come: asyncio.Queue[tuple[AnswerRow, Piece]] = asyncio.Queue()

        def take(row: AnswerRow, piece: Piece) -> None:
            with contextlib.suppress(RuntimeError):  # of a loop that has ended meanwhile
                loop.call_soon_threadsafe(come.put_nowait, (row, piece))

        self._scheduler.add(rows, take)
        left = len(rows)
        try:
            while left:
                row, piece = await come.get()
                if piece.error is not None:
                    raise piece.error
                if piece.ended == CANCELLED:
                    raise stopped()
                left -= piece.ended is not None
                yield row, piece
        finally:
            self._scheduler.cancel(rows)

    def _rows(self, asked: AskedText) -> list[AnswerRow]:
        tokenizer, context = tokenizer_of(self._parts, asked.settings), self._scheduler.context
        rows: list[AnswerRow] = []
        for first in prepared(self._parts, asked.prompts, asked.task, None):
            if first.error is not None:
                raise first.error
            check_context(len(first.prompt), context)
            for _ in range(asked.choices):
                # Numbered in this order, so that a row's draws are those that it has alone.
                row = AnswerRow(len(rows), first.name)
                row.task, row.prompt = first.task, first.prompt
                row.start(asked.settings, context, tokenizer)
                rows.append(row)
        return rows
