"""A run takes lists, masks of True and False, and arrays of texts, beside arrays of integers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.errors import InputError, TaskError
from osd_edge.runtime import EdgeSession

IDS = [[2, 5, 6, 3], [2, 7, 3, 0]]
MASK = [[1, 1, 1, 1], [1, 1, 1, 0]]


@pytest.fixture(scope="module")
def session(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    for path in tiny_bundles:
        session.load(path)
    return session


@pytest.mark.parametrize(
    "inputs",
    [
        {"input_ids": IDS, "attention_mask": MASK},
        {"input_ids": tuple(map(tuple, IDS)), "attention_mask": np.array(MASK, bool)},
        {"input_ids": np.array(IDS, np.uint8), "attention_mask": np.array(MASK, bool).tolist()},
        {"input_ids": list(map(np.array, IDS)), "attention_mask": np.array(MASK, np.int32)},
    ],
)
def test_lists_and_masks_of_true_and_false_are_taken(
    inputs: dict[str, Any], session: EdgeSession
) -> None:
    arrays = {"input_ids": np.array(IDS), "attention_mask": np.array(MASK)}
    right, found = session.run(arrays, task="first"), session.run(inputs, task="first")
    assert found.hidden.tobytes() == right.hidden.tobytes()
    assert right.logits is not None and found.logits is not None
    assert found.logits.tobytes() == right.logits.tobytes()


@pytest.mark.parametrize(
    "inputs",
    [
        {"input_ids": [[True, False]]},
        {"input_ids": [[1, 2], [3]]},
        {"input_ids": [[1, None]]},
        {"input_ids": [["a", "b"]]},
        {"input_ids": [[2**70]]},
        {"input_ids": [[1.0, 2.0]]},
        {"input_ids": {"x": 1}},
        {"input_ids": object()},
        {"input_ids": [[1, 2]], "attention_mask": None},
        {"input_ids": [[1, 2]], "attention_mask": [[1.0, 0.0]]},
        {"input_ids": [[1, 2]], "attention_mask": [1, 1]},
        {"input_ids": [[1, 2]], "attention_mask": [["yes", "no"]]},
    ],
)
def test_lists_of_anything_else_are_refused(inputs: dict[str, Any], session: EdgeSession) -> None:
    for given in ({}, {"tasks": ["first"]}):
        with pytest.raises(InputError) as refusal:
            session.run(inputs, **given)
        assert refusal.value.code == "input.shape"
        assert len(str(refusal.value)) < 400


def test_arrays_and_tuples_of_texts_and_of_tasks_are_taken(session: EdgeSession) -> None:
    texts, tasks = ["a cat sat", "the dog ran"], ["first", "second"]
    right = session.classify(texts, tasks=tasks)
    for of in (tuple, np.array, lambda given: np.array(given, object)):
        assert session.classify(of(texts), tasks=of(tasks)) == right
        pairs = session.encode(of(texts), of(texts))
        assert pairs["input_ids"].tolist() == session.encode(texts, texts)["input_ids"].tolist()
        assert session.run(pairs, tasks=of(["first", "second"])).tasks == ("first", "second")
        assert session.ask(of(texts), task="first")[0].label == right[0].label
    mixed = session.run({"input_ids": IDS}, tasks=np.array(["first", None], object))
    assert mixed.tasks == ("first", None)


@pytest.mark.parametrize("tasks", [np.array([["first"]]), np.array("first"), np.array([1, 2]), {}])
def test_arrays_that_are_no_list_of_tasks_are_refused(tasks: Any, session: EdgeSession) -> None:
    with pytest.raises((InputError, TaskError)) as refusal:
        session.run({"input_ids": IDS}, tasks=tasks)
    assert refusal.value.code in ("input.tasks", "task.unknown")
    assert "\n" not in str(refusal.value)
