"""Writes the answers of a batch: its prompts are filled in, then all rows go on a token at a time.

Rows that have ended leave the batch, and what they had of the cache goes to the others.
"""

from collections.abc import Callable, Iterator, Sequence

from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.bound_cache import BoundCache
from osd_edge.runtime.generation.fed_cache import FedCache
from osd_edge.runtime.generation.key_cache import KeyCache
from osd_edge.runtime.generation.results import Piece
from osd_edge.runtime.generation.running_batch import RunningBatch, together
from osd_edge.runtime.open_base import OpenBase

Cancelled = Callable[[], bool]


def key_cache(base: OpenBase, rows: int, most: int) -> KeyCache:
    """Gives an empty cache of the sort that the base's graph has, for rows of `most` tokens."""
    facts = base.manifest.generation
    assert facts is not None
    return (BoundCache if facts.in_place else FedCache)(base, rows, most)


def write(rows: Sequence[AnswerRow], cache: KeyCache, cancelled: Cancelled) -> Iterator[Piece]:
    """Writes the answers of rows that have started, and gives their pieces as they come.

    `cache` is empty, or has the first tokens of the one row. `cancelled` is asked before each run.
    """
    batch = RunningBatch(cache)
    waiting = sorted(rows, key=lambda row: len(row.prompt)) if len(rows) > 1 else list(rows)
    # A cache whose last row has ended keeps that row's keys, for a conversation to go on with.
    while waiting or any(row.ended is None for row in batch.all_rows):
        batch.leave()
        if waiting and not batch.filling:
            batch.begin(together(waiting))
            del waiting[: len(batch.filling)]
        if cancelled():
            yield from (row.cancel() for row in (*batch.all_rows, *waiting))
            return
        for _, piece in batch.fill() if batch.filling else batch.step():
            yield piece
