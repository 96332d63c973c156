"""A running batch and its scheduler: rows join, leave and end without changing one another."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from osd_edge.errors import ApiError, InputError
from osd_edge.runtime import EdgeSession, Piece
from osd_edge.runtime.generation import running_batch, scheduler
from osd_edge.runtime.generation.answer_row import AnswerRow
from osd_edge.runtime.generation.answer_settings import AnswerSettings
from osd_edge.runtime.generation.generate import prepared
from osd_edge.runtime.generation.loop import key_cache
from osd_edge.runtime.generation.running_batch import Pieces, RunningBatch, together
from osd_edge.runtime.generation.scheduler import BatchLimits, Scheduler
from tests.support.writers import CONTEXT, Writer

PROMPTS = ("the cat sat", "a dog ran under the bird, système 猫", "on", "x" * 40, "the mat", "bird")
TASKS = (None, "task0", "task1", "task0", "task1", None)
MOST = (30, 12, 25, 18, 5, 40)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def session(request: pytest.FixtureRequest) -> EdgeSession:
    writer: Writer = request.getfixturevalue(request.param)
    session = EdgeSession(writer.package, threads=1)
    for path in writer.bundles:
        session.load(path)
    return session


@pytest.fixture(scope="module")
def alone(session: EdgeSession) -> list[tuple[int, ...]]:
    return [
        session.generate([prompt], task=task, max_tokens=most)[0].tokens
        for prompt, task, most in zip(PROMPTS, TASKS, MOST, strict=True)
    ]


@pytest.fixture
def started(session: EdgeSession) -> Iterator["Started"]:
    with Started(session) as one:
        yield one


def made(session: EdgeSession, prompt: Any, task: str | None, most: int) -> AnswerRow:
    (row,) = prepared(session._parts, [prompt], task, None)
    settings = AnswerSettings(max_tokens=most)
    row.start(settings, CONTEXT, session._parts.base.tokenizer.read()[0])
    return row


def rows_of(session: EdgeSession) -> list[AnswerRow]:
    return [made(session, *given) for given in zip(PROMPTS, TASKS, MOST, strict=True)]


@dataclass
class Taken:
    """Keeps the pieces that a caller is given, in the batch's thread."""

    pieces: list[Piece] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    first: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _: AnswerRow, piece: Piece) -> None:
        self.pieces.append(piece)
        self.first.set()
        if piece.ended is not None:
            self.ended.set()

    def wait(self) -> Piece:
        assert self.ended.wait(60)
        return self.pieces[-1]


class Started:
    """A scheduler that is closed at the end, and what its callers were given."""

    def __init__(self, session: EdgeSession, limits: BatchLimits | None = None) -> None:
        self.session = session
        self.scheduler = Scheduler(session._parts, limits or BatchLimits())

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.close()

    def add(self, *rows: AnswerRow) -> list[Taken]:
        taken = [Taken() for _ in rows]
        for row, take in zip(rows, taken, strict=True):
            self.scheduler.add([row], take)
        return taken


@pytest.mark.parametrize("at_once", [256, 7])
@pytest.mark.parametrize("apart", [1, 3])
def test_rows_that_join_later_answer_as_each_does_alone(
    session: EdgeSession,
    alone: Sequence[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    apart: int,
) -> None:
    """A long prompt is filled in by parts, while the others make a token after each of them."""
    monkeypatch.setattr(running_batch, "AT_ONCE", at_once)
    rows = rows_of(session)
    batch = RunningBatch(key_cache(session._parts.base, len(rows), CONTEXT))
    waiting, turns, most = list(rows), 0, 0
    while waiting or any(row.ended is None for row in batch.all_rows):
        batch.leave()
        if waiting and turns % apart == 0 and not batch.filling:
            batch.begin(together(waiting[:1]))
            del waiting[0]
        if batch.rows:
            batch.step()
        if batch.filling:
            batch.fill()
        turns, most = turns + 1, max(most, len(batch.rows))
    assert [tuple(row.answer) for row in rows] == list(alone)
    assert most > 2  # they were there together


def test_a_row_that_is_given_up_while_it_is_filled_in_leaves_the_others_as_they_were(
    session: EdgeSession, alone: Sequence[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_batch, "AT_ONCE", 7)
    rows = rows_of(session)
    batch = RunningBatch(key_cache(session._parts.base, len(rows), CONTEXT))
    first, given_up, late = rows[0], rows[3], rows[2]
    batch.begin([first])
    while batch.filling:
        batch.fill()
    batch.begin([given_up])
    assert batch.fill() == [] and batch.fill() == []
    batch.step()
    given_up.cancel()
    batch.leave()
    batch.begin([late])
    while any(row.ended is None for row in batch.all_rows):
        batch.leave()
        batch.step()
        if batch.filling:
            batch.fill()
    assert (tuple(first.answer), tuple(late.answer)) == (alone[0], alone[2])


def test_a_smaller_room_for_rows_keeps_what_is_there(
    session: EdgeSession, alone: Sequence[tuple[int, ...]]
) -> None:
    (first, *_) = rows_of(session)
    batch = RunningBatch(key_cache(session._parts.base, 2, CONTEXT))
    batch.begin([first])
    batch.fill()
    for _ in range(10):
        batch.step()
    batch.cache.limit(first.most)
    while first.ended is None:
        batch.step()
    assert tuple(first.answer) == alone[0]


def test_callers_share_a_batch_and_get_what_each_gets_alone(
    started: Started, session: EdgeSession, alone: Sequence[tuple[int, ...]]
) -> None:
    rows = rows_of(session)
    for take in started.add(*rows):
        take.wait()
    assert [tuple(row.answer) for row in rows] == list(alone)
    # One run makes a token of each row that is there: by themselves it would be as many as tokens.
    assert started.scheduler.steps < sum(map(len, alone)) - len(rows)


@pytest.mark.parametrize("late", [4, 3])
def test_a_row_joins_at_the_next_token_of_another(
    started: Started,
    session: EdgeSession,
    alone: Sequence[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    late: int,
) -> None:
    """It comes with the first token of one that makes 40, and is done before that one's last.

    While a long prompt is filled in, in parts, the other makes a token after each part.
    """
    monkeypatch.setattr(running_batch, "AT_ONCE", 7)
    rows = rows_of(session)
    long, joining = rows[5], rows[late]
    first, second = Taken(), Taken()
    made_by_then: list[int] = []

    def take_first(row: AnswerRow, piece: Piece) -> None:
        if not first.pieces:
            started.scheduler.add([joining], take_second)
        first(row, piece)

    def take_second(row: AnswerRow, piece: Piece) -> None:
        made_by_then.append(len(long.answer))
        second(row, piece)

    started.scheduler.add([long], take_first)
    first.wait(), second.wait()
    assert (tuple(long.answer), tuple(joining.answer)) == (alone[5], alone[late])
    parts = -(-len(joining.prompt) // 7)
    assert made_by_then[0] == 1 + parts
    assert started.scheduler.steps == len(long.answer) - 1 == 39
    assert started.scheduler.fills == 1 + parts


def test_a_cancelled_row_ends_and_the_others_go_on(
    started: Started, session: EdgeSession, alone: Sequence[tuple[int, ...]]
) -> None:
    rows = rows_of(session)
    endless = made(session, "the", None, CONTEXT)
    (unwanted,) = started.add(endless)
    taken = started.add(*rows)
    assert unwanted.first.wait(60)
    started.scheduler.cancel([endless])
    assert unwanted.wait().ended == "cancelled"
    for take in taken:
        take.wait()
    assert [tuple(row.answer) for row in rows] == list(alone)
    assert len(endless.tokens) < CONTEXT


def test_rows_that_wait_are_bounded_and_can_be_cancelled(session: EdgeSession) -> None:
    with Started(session, BatchLimits(rows=1, waiting=2)) as started:
        (running,) = started.add(made(session, "the", None, 200))
        assert running.first.wait(60)
        rows = [made(session, "on", None, 2) for _ in range(3)]
        waits, _ = started.add(*rows[:2])
        with pytest.raises(ApiError) as refused:
            started.add(rows[2])
        assert refused.value.code == "api.busy"
        started.scheduler.cancel(rows[:1])
        assert waits.wait().ended == "cancelled"
        assert running.wait().ended in ("length", "stop")


def test_room_for_keys_bounds_the_rows_that_run_together(session: EdgeSession) -> None:
    facts = session.manifest.generation
    assert facts is not None
    copies = 1 if facts.in_place else 2
    room = BatchLimits(rows=8, cache_bytes=copies * facts.bytes_of_a_token * 100)
    with Started(session, room) as started:
        assert started.scheduler.context == 100
        rows = [made(session, [3, 4, 5], None, 37) for _ in range(4)]
        for take in started.add(*rows):
            take.wait()
        # Two at a time: 40 tokens each, and three would come to 120.
        assert started.scheduler.steps >= 2 * 36
        assert len({tuple(row.answer) for row in rows}) == 1


def test_a_graph_of_one_task_for_all_rows_has_a_batch_for_each(
    started: Started,
    session: EdgeSession,
    alone: Sequence[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, whole = session._parts.base, RunningBatch.step
    monkeypatch.setattr(base, "manifest", replace(base.manifest, mixed_rows=False))
    together: list[list[str | None]] = []

    def step(batch: RunningBatch) -> Pieces:
        together.append([row.name for row in batch.rows])
        return whole(batch)

    monkeypatch.setattr(RunningBatch, "step", step)
    rows = rows_of(session)
    for take in started.add(*rows):
        take.wait()
    assert [tuple(row.answer) for row in rows] == list(alone)
    assert all(len(set(names)) == 1 for names in together)


def test_no_room_for_keys_is_refused(session: EdgeSession) -> None:
    with pytest.raises(InputError) as refused:
        Scheduler(session._parts, BatchLimits(cache_bytes=1000))
    assert refused.value.code == "input.size"


def test_a_run_that_fails_refuses_its_rows_and_the_next_ones_are_answered(
    started: Started,
    session: EdgeSession,
    alone: Sequence[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "key_cache", fails)
        (taken,) = started.add(rows_of(session)[0])
        error = taken.wait().error
    assert isinstance(error, ApiError) and error.code == "api.failed"
    assert "MemoryError" in capsys.readouterr().err
    row = rows_of(session)[0]
    started.add(row)[0].wait()
    assert tuple(row.answer) == alone[0]


def test_the_end_ends_what_is_written_and_what_waits(session: EdgeSession) -> None:
    with Started(session, BatchLimits(rows=1)) as started:
        running, waits = started.add(
            made(session, "the", None, CONTEXT), made(session, "on", None, 3)
        )
        assert running.first.wait(60)
    assert (running.wait().ended, waits.wait().ended) == ("cancelled", "cancelled")
    with pytest.raises(ApiError) as refused:
        started.add(made(session, "on", None, 3))
    assert refused.value.code == "api.stopped"


def test_a_refused_run_ends_its_rows_alone(
    started: Started, session: EdgeSession, alone: Sequence[tuple[int, ...]]
) -> None:
    """Ids that no table of the base has: onnxruntime refuses the run, of that row alone."""
    spoiled = made(session, [3, 4], None, 4)
    spoiled.prompt = [10**6] * 400
    rows = rows_of(session)
    taken = started.add(rows[0], spoiled, rows[1])
    assert isinstance(taken[1].wait().error, InputError)
    taken[0].wait(), taken[2].wait()
    assert (tuple(rows[0].answer), tuple(rows[1].answer)) == (alone[0], alone[1])
