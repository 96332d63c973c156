"""EdgeSession: swaps, exact return to the base, and many threads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from osd_edge.errors import InputError, OsdEdgeError, TaskError
from osd_edge.formats.heads import Floats
from osd_edge.formats.package.manifest import MODEL
from osd_edge.runtime import EdgeSession
from tests.support import tiny


@pytest.fixture
def session(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    for path in tiny_bundles:
        session.load(path)
    return session


@pytest.fixture
def texts() -> list[str]:
    return tiny.sentences(5, seed=9)


def test_tasks_are_listed_activated_and_unloaded(session: EdgeSession, texts: list[str]) -> None:
    assert session.tasks == ("first", "second")
    assert session.active is None
    session.activate("first")
    assert session.active == "first"
    assert {answer.label for answer in session.classify(texts)} <= set(tiny.LABELS)
    session.activate("second")
    assert {answer.label for answer in session.classify(texts)} <= {"yes", "no"}
    session.unload("second")
    assert session.active is None
    assert "second" not in session.tasks
    with pytest.raises(TaskError) as refusal:
        session.activate("second")
    assert refusal.value.code == "task.unknown"


def test_scores_add_up_and_name_the_best_label(session: EdgeSession, texts: list[str]) -> None:
    for answer in session.classify(texts, task="first"):
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-5)
        assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]


def test_after_deactivation_outputs_are_bit_identical(
    session: EdgeSession, texts: list[str], tiny_base: Path
) -> None:
    inputs = session.encode(texts)
    before = session.run(inputs)
    session.activate("first")
    during = session.run(inputs)
    session.deactivate()
    after = session.run(inputs)
    assert not np.array_equal(during.hidden, before.hidden)
    assert after.hidden.tobytes() == before.hidden.tobytes()
    assert after.task is None and after.logits is None
    fresh = ort.InferenceSession(str(tiny_base / MODEL)).run(["last_hidden_state"], inputs)[0]
    assert np.abs(fresh - after.hidden).max() < 1e-5


def test_a_task_named_for_one_run_leaves_the_active_one(
    session: EdgeSession, texts: list[str]
) -> None:
    session.activate("first")
    inputs = session.encode(texts)
    first = session.run(inputs)
    second = session.run(inputs, task="second")
    base = session.run(inputs, task=None)
    assert (first.task, second.task, base.task) == ("first", "second", None)
    assert session.active == "first"
    assert session.run(inputs).hidden.tobytes() == first.hidden.tobytes()


def test_the_cache_of_decoded_tasks_changes_no_answer(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], texts: list[str], session: EdgeSession
) -> None:
    starved = EdgeSession(tiny_base, threads=1, cache_bytes=0)
    for path in tiny_bundles:
        starved.load(path)
    for name in ("first", "second", "first"):
        assert starved.classify(texts, task=name) == session.classify(texts, task=name)


def test_names_can_be_given_and_are_not_taken_twice(
    session: EdgeSession, tiny_bundles: tuple[Path, Path]
) -> None:
    with pytest.raises(TaskError) as refusal:
        session.load(tiny_bundles[0])
    assert refusal.value.code == "task.taken"
    assert session.load(tiny_bundles[0], name="again") == "again"
    assert session.tasks == ("first", "second", "again")


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({}, "input.names"),
        ({"input_ids": np.ones((1, 3), np.int64), "colour": np.ones((1, 3))}, "input.names"),
        ({"input_ids": np.ones(3, np.int64)}, "input.shape"),
        ({"input_ids": np.ones((1, 3), np.float32)}, "input.shape"),
        ({"input_ids": np.ones((1, 0), np.int64)}, "input.shape"),
        (
            {"input_ids": np.ones((1, 3), np.int64), "attention_mask": np.ones((1, 4), np.int64)},
            "input.shape",
        ),
        ({"input_ids": np.full((1, 3), 10**6)}, "input.run"),
        ({"input_ids": np.ones((1, 65), np.int64)}, "input.run"),
    ],
)
def test_bad_inputs_are_refused(
    session: EdgeSession, inputs: dict[str, np.ndarray], code: str
) -> None:
    with pytest.raises(InputError) as refusal:
        session.run(inputs)
    assert refusal.value.code == code
    assert session.run({"input_ids": np.ones((1, 3), np.int64)}).hidden.shape == (1, 3, 32)


@pytest.mark.parametrize("texts", ["one text", [], [1]])
def test_bad_texts_are_refused(session: EdgeSession, texts: list[str]) -> None:
    with pytest.raises(InputError):
        session.classify(texts, task="first")


def test_classify_needs_a_task(session: EdgeSession, texts: list[str]) -> None:
    with pytest.raises(TaskError) as refusal:
        session.classify(texts)
    assert refusal.value.code == "task.none"


def test_long_texts_are_cut_to_what_the_base_takes(session: EdgeSession) -> None:
    assert session.encode(["cat " * 500])["input_ids"].shape == (1, 64)
    assert session.encode(["cat " * 500], max_length=10)["input_ids"].shape == (1, 10)
    with pytest.raises(InputError):
        session.encode(["cat"], max_length=65)


def test_pairs_of_texts_are_told_apart(session: EdgeSession) -> None:
    inputs = session.encode(["the cat"], ["a dog ran"])
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_threads_never_see_half_a_task(session: EdgeSession) -> None:
    """Every run must give one task's exact answer while another thread swaps all the time.

    A run that mixed factors or head of two tasks would give hidden states or logits of neither.
    """
    inputs = session.encode(tiny.sentences(2, seed=5))
    names: list[str | None] = ["first", "second", None]
    expected = {name: session.run(inputs, task=name) for name in names}
    stop = threading.Event()
    failures: list[str] = []
    runs: list[str | None] = []

    def swap() -> None:
        for name in _forever(names):
            if stop.is_set():
                return
            session.activate(name) if name else session.deactivate()

    def run() -> None:
        for _ in range(150):
            output = session.run(inputs)
            right = expected[output.task]
            runs.append(output.task)
            if output.hidden.tobytes() != right.hidden.tobytes():
                failures.append(f"hidden states are not those of {output.task}")
            if not _same(output.logits, right.logits):
                failures.append(f"logits are not those of {output.task}")

    swapper = threading.Thread(target=swap)
    runners = [threading.Thread(target=run) for _ in range(4)]
    swapper.start()
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    stop.set()
    swapper.join()
    assert not failures
    assert len(runs) == 600
    assert len(set(runs)) > 1, "the swapping thread never got a turn"


def test_loading_and_unloading_while_others_run(
    session: EdgeSession, tiny_bundles: tuple[Path, Path]
) -> None:
    inputs = session.encode(tiny.sentences(2, seed=5))
    right = session.run(inputs, task="first").hidden.tobytes()
    problems: list[Exception | str] = []

    def churn() -> None:
        try:
            for _ in range(30):
                session.load(tiny_bundles[1], name="third")
                session.activate("third")
                session.unload("third")
        except OsdEdgeError as error:
            problems.append(error)

    def run() -> None:
        for _ in range(60):
            if session.run(inputs, task="first").hidden.tobytes() != right:
                problems.append("changed")

    threads = [threading.Thread(target=target) for target in (churn, run, run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def _same(a: Floats | None, b: Floats | None) -> bool:
    return (a is None and b is None) or (
        a is not None and b is not None and a.tobytes() == b.tobytes()
    )


def _forever(names: list[str | None]) -> Iterator[str | None]:
    while True:
        yield from names
