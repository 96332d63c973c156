"""A batch of rows while their answers are written, which rows join and leave between two runs."""

from collections.abc import Sequence

from osd_edge.errors import OsdEdgeError
from osd_edge.formats.heads import Floats
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.key_cache import KeyCache
from osd_edge.runtime.generation.results import Piece
from osd_edge.runtime.stacked_factors import Stack, stack

# The most tokens of prompts that are filled in at once: of several short ones together, since the
# base's weights are read once for all of them (8 of 32 tokens: 0.64 of the time), or of a part of a
# long one, which takes less memory and time than the whole (2,048 tokens: 0.77 of the time).
AT_ONCE = 256
Pieces = list[tuple[AnswerRow, Piece]]


class RunningBatch:
    """Rows over one key cache: a run fills in prompts, or makes the next token of each row.

    Rows join by `begin` and `fill`, which may take several runs; `step` runs the others meanwhile.
    Rows that have ended, by themselves or since the caller ended them, go when `leave` is called,
    and what they had of the cache goes to the others.

    Attributes:
        cache: The keys of the rows.
        rows: The rows whose prompts are filled in.
        filling: Rows whose prompts are being filled in: several short ones, or a long one.
    """

    def __init__(self, cache: KeyCache) -> None:
        """Begins without rows; the cache may have the first tokens of the one that will begin."""
        self.rows: list[AnswerRow] = []
        self.filling: list[AnswerRow] = []
        self.cache = cache
        self._stop_ids = frozenset(cache.facts.stop_ids)
        self._stacked: Stack | None = None

    @property
    def all_rows(self) -> list[AnswerRow]:
        """All rows, those that are being filled in too."""
        return self.rows + self.filling

    def begin(self, rows: Sequence[AnswerRow]) -> None:
        """Takes rows that `fill` will fill in, as `together` gives them."""
        assert not self.filling
        self.filling = list(rows)

    def fill(self) -> Pieces:
        """Runs the prompts that are being filled in, or the next part of a long one.

        Gives no pieces as long as a prompt is not whole.
        """
        group, first = self.filling, len(self.rows)
        done = self.cache.lengths[first] if first < len(self.cache.lengths) else 0
        parts = [row.prompt for row in group]
        if len(group) == 1:
            parts = [parts[0][done : done + AT_ONCE]]
        try:
            logits = self.cache.fill(first, parts, stack(tuple(row.task for row in group)).feeds)
        except OsdEdgeError as error:
            self.cache.forget(first)
            self.filling = []
            return [(row, row.refuse(error)) for row in group]
        if len(group) == 1 and done + len(parts[0]) < len(group[0].prompt):
            return []
        self.rows, self.filling, self._stacked = self.rows + group, [], None
        self.cache.release()  # of the factors, before there are others
        return self._advanced(group, logits)

    def step(self) -> Pieces:
        """Makes the next token of each row that is filled in; none of them may have ended."""
        if self._stacked is None:
            self._stacked = stack(tuple(row.task for row in self.rows))
        tokens = [row.answer[-1] for row in self.rows]
        try:
            logits = self.cache.step(tokens, self._stacked.feeds)
        except OsdEdgeError as error:
            return [(row, row.refuse(error)) for row in self.rows]
        return self._advanced(self.rows, logits)

    def leave(self) -> None:
        """Lets rows go that have ended."""
        cache, count = self.cache, len(self.rows)
        if any(row.ended is not None for row in self.filling):
            cache.forget(count)  # the part of a long one that is there
            self.filling = [row for row in self.filling if row.ended is None]
        kept = [i for i, row in enumerate(self.rows) if row.ended is None]
        if len(kept) < count:
            kept = _gaps_filled(kept)
            cache.keep([*kept, *range(count, len(cache.lengths))])
            self.rows, self._stacked = [self.rows[i] for i in kept], None

    def _advanced(self, rows: Sequence[AnswerRow], logits: Floats) -> Pieces:
        return [
            (row, row.advance(own, self._stop_ids)) for row, own in zip(rows, logits, strict=True)
        ]


def together(waiting: Sequence[AnswerRow]) -> list[AnswerRow]:
    """The first of the rows that wait: one, or as many as are short enough to be filled at once."""
    count, longest = 1, len(waiting[0].prompt)
    while count < len(waiting):
        longest = max(longest, len(waiting[count].prompt))
        if (count + 1) * longest > AT_ONCE:
            break
        count += 1
    return list(waiting[:count])


def _gaps_filled(kept: Sequence[int]) -> list[int]:
    """Orders rows that stay so that as few as can be have to move: the last ones fill the gaps."""
    count = len(kept)
    behind = [row for row in kept if row >= count]
    return [row if row in set(kept) else behind.pop() for row in range(count)]
