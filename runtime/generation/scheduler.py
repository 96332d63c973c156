"""Writes the answers of many callers in one running batch, which rows join at any token.

A thread of its own runs the batch. Between two runs it lets rows go that have ended or that nobody
wants any more, and takes in those that wait, in the order that they came. While a long prompt is
filled in, part by part, the others go on.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from osd_edge.data.sizes import format_size
from osd_edge.errors import ApiError, Code, InputError
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.generate import facts_of
from osd_edge.runtime.generation.loop import key_cache
from osd_edge.runtime.generation.results import Piece
from osd_edge.runtime.generation.running_batch import Pieces, RunningBatch, together
from osd_edge.runtime.parts import Parts

_LEAST = 64  # tokens
TakePiece = Callable[[AnswerRow, Piece], None]  # called in the batch's thread: it must not wait


@dataclass(frozen=True)
class BatchLimits:
    """Bounds on the rows that are written at once, on those that wait, and on their keys' bytes."""

    rows: int = 8
    waiting: int = 64
    cache_bytes: int = 512 * 2**20


class Scheduler:
    """Takes rows from many threads, and gives their pieces as they come.

    Attributes:
        limits: The bounds that it was given.
        context: The most tokens of a prompt with its answer: as many as the base takes, and whose
            keys the limit has room for.
        steps: How many runs made tokens for rows that were there.
        fills: How many runs filled in prompts.
    """

    def __init__(self, parts: Parts, limits: BatchLimits) -> None:
        """Starts the thread.

        Raises BaseError `base.generation` for a base that writes no text, InputError `input.size`
        where there is no room for the keys of a short text.
        """
        facts = facts_of(parts)
        self._parts, self.limits = parts, limits
        # Keys that are fed are there twice during a run: those that go in, and those that come out.
        copies = 1 if facts.in_place else 2
        self._tokens = limits.cache_bytes // (copies * facts.bytes_of_a_token)
        if self._tokens < min(_LEAST, facts.context):
            needed = format_size(copies * facts.bytes_of_a_token * _LEAST)
            raise InputError(
                Code.INPUT_SIZE,
                f"expected room for the keys of {_LEAST} tokens, {needed}, found "
                f"{format_size(limits.cache_bytes)}: give more",
            )
        self.context = min(facts.context, self._tokens)
        self.steps = self.fills = 0
        self._changed = threading.Condition()
        # What callers change, under the lock of `_changed`.
        self._waiting: deque[tuple[AnswerRow, TakePiece]] = deque()
        self._unwanted: set[AnswerRow] = set()
        self._closed = False
        # What the thread alone has.
        self._batch: RunningBatch | None = None
        self._takes: dict[AnswerRow, TakePiece] = {}
        self._thread = threading.Thread(target=self._work, name="osd-edge batch", daemon=True)
        self._thread.start()

    @property
    def rows_now(self) -> int:
        """The number of rows that wait or are being written."""
        return len(self._waiting) + len(self._takes)

    def add(self, rows: Sequence[AnswerRow], take: TakePiece) -> None:
        """Takes rows that have started, all or none; `take` gets their pieces.

        Raises ApiError `api.busy` where too many wait, `api.stopped` after `close`.
        """
        with self._changed:
            if self._closed:
                raise stopped()
            if len(self._waiting) + len(rows) > self.limits.waiting:
                raise ApiError(
                    Code.API_BUSY,
                    f"expected fewer than {self.limits.waiting} prompts to wait: ask again later",
                )
            self._waiting += ((row, take) for row in rows)
            self._changed.notify()

    def cancel(self, rows: Sequence[AnswerRow]) -> None:
        """Ends rows before the next run, wherever they are; those that have ended stay so."""
        with self._changed:
            self._unwanted |= {row for row in rows if row.ended is None}
            self._changed.notify()

    def close(self) -> None:
        """Ends all rows before the next run, and the thread; waits for that."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed or self._takes or self._waiting:
            try:
                self._end_unwanted()
                self._run()
            except Exception as error:  # out of memory, or a mistake: the next rows are answered
                self._give_up(error)

    def _end_unwanted(self) -> None:
        """Waits until there is something to do, and ends the rows that nobody wants."""
        with self._changed:
            self._changed.wait_for(self._has_work)
            unwanted = [row for row in self._all_rows() if self._is_unwanted(row)]
            self._unwanted = set()
            self._takes |= {row: take for row, take in self._waiting if row in unwanted}
            self._waiting = deque(x for x in self._waiting if x[0] not in unwanted)
        self._give([(row, row.cancel()) for row in unwanted])

    def _has_work(self) -> bool:
        return bool(self._closed or self._unwanted or self._waiting or self._batch is not None)

    def _all_rows(self) -> Iterator[AnswerRow]:
        if self._batch is not None:
            yield from self._batch.all_rows
        yield from (row for row, _ in self._waiting)

    def _is_unwanted(self, row: AnswerRow) -> bool:
        return (self._closed or row in self._unwanted) and row.ended is None

    def _run(self) -> None:
        """Lets rows go, takes rows in, and runs the batch: a token each, then what is filled in."""
        batch = self._batch
        if batch is not None:
            batch.leave()
            if not batch.all_rows:
                self._batch = None  # and its memory
        batch = self._joined()
        if batch is not None and batch.rows:
            self.steps += 1
            self._give(batch.step())
        if batch is not None and batch.filling:
            self.fills += 1
            self._give(batch.fill())

    def _joined(self) -> RunningBatch | None:
        """Takes in rows that wait, while there is room; gives the batch, None if it is empty."""
        batch = self._batch
        if batch is not None and batch.filling:
            return batch
        there = [] if batch is None else batch.rows
        with self._changed:
            new: list[AnswerRow] = []
            for row, _ in self._waiting:
                if not self._has_room([*there, *new, row]):
                    break
                new.append(row)
            new = together(new) if new else []
            for _ in new:
                row, take = self._waiting.popleft()
                self._takes[row] = take
        if new:
            most = max(row.most for row in (*there, *new))
            if batch is None:
                batch = self._batch = RunningBatch(key_cache(self._parts.base, 1, most))
            batch.cache.limit(most)
            batch.begin(new)
        return batch

    def _has_room(self, rows: Sequence[AnswerRow]) -> bool:
        """Says whether these rows may run together: every one may become as long as the longest."""
        if len(rows) > self.limits.rows:
            return False
        if len(rows) * max(row.most for row in rows) > self._tokens:
            return False
        # Some graphs take the factors of one task for all rows.
        one_task = all(row.task is rows[0].task for row in rows)
        return one_task or self._parts.base.manifest.mixed_rows

    def _give(self, pieces: Pieces) -> None:
        for row, piece in pieces:
            take = self._takes[row] if row.ended is None else self._takes.pop(row)
            take(row, piece)

    def _give_up(self, error: Exception) -> None:
        """Refuses all rows of a batch whose run failed, and forgets the batch."""
        print(f"osd-edge: a run failed: {error!r}", file=sys.stderr)
        refusal = ApiError(Code.API_FAILED, "the server failed to write this answer: ask again")
        rows, self._batch = list(self._takes), None
        self._give([(row, row.refuse(refusal)) for row in rows])


def stopped() -> ApiError:
    """The refusal of an answer that the end of the server cuts off."""
    return ApiError(Code.API_STOPPED, "the server has ended: ask it again once it runs")
