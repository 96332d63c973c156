"""Writes the answers of a batch: its prompts are filled in, then all rows go on a token at a time.

Rows that have ended leave the batch, and what they had of the cache goes to the others.
"""

from collections.abc import Callable, Iterator, Sequence

from osd_edge.errors import OsdEdgeError
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.bound_cache import BoundCache
from osd_edge.runtime.generation.fed_cache import FedCache
from osd_edge.runtime.generation.key_cache import KeyCache
from osd_edge.runtime.generation.results import Piece
from osd_edge.runtime.open_base import OpenBase
from osd_edge.runtime.stacked_factors import Stack, stack

# Tokens of prompts that are filled in at once: short ones together, since the base's weights then
# are read once for all; long ones in parts, between which they can be cancelled.
TOGETHER = 256
AT_ONCE = 512
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
    stop_ids = frozenset(cache.facts.stop_ids)
    live: list[AnswerRow] = []
    waiting = sorted(rows, key=lambda row: len(row.prompt)) if len(rows) > 1 else list(rows)
    while waiting:
        group = _together(waiting)
        del waiting[: len(group)]
        if cancelled():
            going_on = [row for row in (*live, *group, *waiting) if row.ended is None]
            yield from (row.cancel() for row in going_on)
            return
        yield from _fill(group, len(live), cache, cancelled, stop_ids)
        # Of rows whose run was refused the cache has nothing.
        live += group[: len(cache.lengths) - len(live)]
    yield from _go_on(live, cache, cancelled, stop_ids)


def _together(waiting: Sequence[AnswerRow]) -> list[AnswerRow]:
    """The rows that are filled in next: one, or as many as are short together."""
    count = 1
    while count < len(waiting) and (count + 1) * len(waiting[count].prompt) <= TOGETHER:
        count += 1
    return list(waiting[:count])


def _fill(
    group: Sequence[AnswerRow],
    first: int,
    cache: KeyCache,
    cancelled: Cancelled,
    stop_ids: frozenset[int],
) -> Iterator[Piece]:
    """Fills in the prompts of rows that are number `first` and after in the cache."""
    factors = stack(tuple(row.task for row in group)).feeds
    done = cache.lengths[first] if first < len(cache.lengths) else 0
    tokens = [row.prompt[done:] for row in group]
    try:
        while len(group) == 1 and len(tokens[0]) > AT_ONCE:
            cache.fill(first, [tokens[0][:AT_ONCE]], factors)
            tokens = [tokens[0][AT_ONCE:]]
            if cancelled():
                yield group[0].cancel()
                return
        logits = cache.fill(first, tokens, factors)
    except OsdEdgeError as error:
        cache.forget(first)
        yield from (row.refuse(error) for row in group)
        return
    for row, own in zip(group, logits, strict=True):
        yield row.advance(own, stop_ids)


def _go_on(
    live: list[AnswerRow], cache: KeyCache, cancelled: Cancelled, stop_ids: frozenset[int]
) -> Iterator[Piece]:
    """Runs a token of each row after the other, until all have ended."""
    stacked: Stack | None = None
    while True:
        kept = [i for i, row in enumerate(live) if row.ended is None]
        if not kept:
            return
        if len(kept) < len(live):
            kept = _gaps_filled(kept)
            cache.keep(kept)
            live, stacked = [live[i] for i in kept], None
        if cancelled():
            yield from (row.cancel() for row in live)
            return
        if stacked is None:
            stacked = stack(tuple(row.task for row in live))
        try:
            logits = cache.step([row.answer[-1] for row in live], stacked.feeds)
        except OsdEdgeError as error:
            yield from (row.refuse(error) for row in live)
            return
        for row, own in zip(live, logits, strict=True):
            yield row.advance(own, stop_ids)


def _gaps_filled(kept: Sequence[int]) -> list[int]:
    """Orders rows that stay so that as few as can be have to move: the last ones fill the gaps."""
    count = len(kept)
    behind = [row for row in kept if row >= count]
    return [row if row in set(kept) else behind.pop() for row in range(count)]
