"""Results that are not finite are refused, and padding may hold anything."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.errors import BaseError, TaskError
from osd_edge.exporters import export_task
from osd_edge.formats.heads import HeadLayer
from osd_edge.runtime import EdgeSession, open_base
from tests.support import tiny
from tests.support.kinds import KINDS, make_embedding

IDS = np.array([[2, 5, 6, 3], [2, 7, 3, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS > 0).astype(np.int64)}
TEXTS = ["the cat sat on a mat", "a dog ran"]


# Methods of a session, with what they are given for a task.
CALLS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("run", lambda task: {"inputs": INPUTS, "task": task}),
    ("ask", lambda task: {"texts": TEXTS, "task": task, "question": "a cat"}),
    ("run", lambda task: {"inputs": INPUTS, "tasks": [None, task]}),
]


@pytest.fixture(scope="module")
def bundles(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    work, base = tmp_path_factory.mktemp("kinds"), tiny_models / "base"
    for name in ("token-labels", "spans", "regression", "multi-label"):
        task, settings = KINDS[name]
        tiny.make_tuned(base, work / name, task=task, **settings)
    make_embedding(base, work / "embedding")
    tiny.make_tuned(base, work / "labels")
    made = {}
    for folder in sorted(work.iterdir()):
        made[folder.name] = work / f"{folder.name}.osd.safetensors"
        export_task(base, folder, made[folder.name], method="truncsvd", budget="r=1")
    return made


@pytest.fixture
def session(tiny_base: Path, bundles: dict[str, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    for name, path in bundles.items():
        session.load(path, name)
    return session


@pytest.fixture
def spoil(session: EdgeSession, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts numbers into what the graph gives, at rows and tokens."""

    def spoil(where: Any, value: float, pooled: bool = False) -> None:
        usual = open_base.OpenBase.forward

        def forward(*given: Any) -> Any:
            hidden, own = usual(*given)
            assert own is not None
            (own if pooled else hidden)[where] = value
            return hidden, own

        monkeypatch.setattr(open_base.OpenBase, "forward", forward)

    return spoil


def spoil_head(session: EdgeSession, name: str, value: float) -> None:
    """Puts a value into the decoded head of a loaded task, with which logits are not finite."""
    task = session._parts.tasks.resolve(name)
    assert task is not None
    layer = task.head.layers[-1]
    weight = np.full((layer.n, layer.d), np.float32(value))
    layers = (*task.head.layers[:-1], HeadLayer(layer.n, layer.d, None, None, weight))
    spoiled = replace(task, head=replace(task.head, layers=layers))
    session._parts.tasks._decoded._tasks[name] = spoiled


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_no_kind_of_task_answers_with_what_is_not_finite(
    value: float, session: EdgeSession, bundles: dict[str, Path]
) -> None:
    for name in bundles:
        if name != "embedding":  # whose head has no layer
            spoil_head(session, name, value)
            for method, given in CALLS:
                with pytest.raises(TaskError) as refusal:
                    getattr(session, method)(**given(name))
                assert refusal.value.code == "task.not-finite"
                assert repr(name) in str(refusal.value)
    for ask in (
        lambda: session.classify(TEXTS, task="labels"),
        lambda: session.classify(TEXTS, tasks=["labels", "regression"]),
        lambda: session.tag(TEXTS, task="token-labels"),
        lambda: session.answer("a cat", TEXTS[0], task="spans"),
    ):
        with pytest.raises(TaskError) as refusal:
            ask()
        assert refusal.value.code == "task.not-finite"


def test_a_vector_that_is_not_finite_is_refused(session: EdgeSession, spoil: Any) -> None:
    spoil((0, 1, 2), np.inf)
    with pytest.raises(TaskError) as refusal:
        session.embed(TEXTS, task="embedding")
    assert refusal.value.code == "task.not-finite"


def test_of_mixed_rows_the_one_that_is_not_finite_is_named(session: EdgeSession) -> None:
    spoil_head(session, "regression", np.nan)
    with pytest.raises(TaskError, match="'regression'"):
        session.run(INPUTS, tasks=["labels", "regression"])
    assert session.run(INPUTS, tasks=["labels", None]).tasks == ("labels", None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_base_alone_that_is_not_finite_is_refused(
    value: float, session: EdgeSession, spoil: Any
) -> None:
    spoil((1, 2, 7), value)
    for given in ({"task": None}, {"tasks": ["labels", None]}):
        with pytest.raises(BaseError) as refusal:
            session.run(INPUTS, **given)
        assert refusal.value.code == "base.graph"


def test_a_pooler_that_is_not_finite_is_refused(session: EdgeSession, spoil: Any) -> None:
    spoil((0, 3), np.nan, pooled=True)
    with pytest.raises(BaseError) as refusal:
        session.run(INPUTS)
    assert refusal.value.code == "base.graph"


def test_padding_may_hold_anything(session: EdgeSession, spoil: Any) -> None:
    right = session.run(INPUTS, task="token-labels").logits
    spoil((1, 3), np.nan)  # row 1 has three tokens
    assert np.isnan(session.run(INPUTS).hidden[1, 3]).all()
    found = session.run(INPUTS, task="token-labels").logits
    assert found is not None and right is not None
    assert np.array_equal(found[0], right[0]) and np.array_equal(found[1, :3], right[1, :3])
    mixed = session.run(INPUTS, tasks=["labels", "token-labels"]).logits[1]
    assert mixed is not None and np.isfinite(mixed[:3]).all()
    assert session.run(INPUTS, tasks=["labels", None]).logits[1] is None
    with pytest.raises(BaseError):  # without a mask every position is a token
        session.run({"input_ids": IDS})


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_padding_that_is_not_finite_changes_no_answer(
    session: EdgeSession, spoil: Any, pooling: str
) -> None:
    task = session._parts.tasks.resolve("labels")
    assert task is not None
    pooled = replace(task, head=replace(task.head, pooling=pooling))
    session._parts.tasks._decoded._tasks["labels"] = pooled
    right = session.run(INPUTS, task="labels").logits
    spoil((1, 3), np.nan)
    found = session.run(INPUTS, task="labels").logits
    assert found is not None and right is not None and np.array_equal(found, right)


def test_numbers_that_are_large_and_finite_are_answered(session: EdgeSession, spoil: Any) -> None:
    spoil((slice(None), slice(None), slice(0, 2)), 3e38)  # whose sum is beyond fp32
    assert session.run(INPUTS).hidden.max() == np.float32(3e38)
