"""Batches in which every row has its own task, against the rows run one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from osd_edge.errors import InputError, TaskError
from osd_edge.exporters import export_task
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.families import Families

Names = Sequence[str | None]


def export_tasks(folder: Path, base: Path) -> list[Path]:
    """Three tasks: other ranks, other sites, other numbers of labels."""
    paths = []
    for i, (labels, budget, sites) in enumerate(
        [(tiny.LABELS, "r=4", "*"), (("yes", "no"), "r=2", "*"), (tiny.LABELS, "r=3", "*att*")]
    ):
        tuned = tiny.make_tuned(base, folder / f"tuned-{i}", labels=labels, seed=i + 1)
        paths.append(folder / f"task-{i}.osd.safetensors")
        export_task(base, tuned, paths[-1], method="truncsvd", budget=budget, sites=(sites,))
    return paths


@pytest.fixture(scope="module", params=["bert", "roberta", "opt", "albert", "deberta-v2", "gpt2"])
def session(
    request: pytest.FixtureRequest, families: Families, tmp_path_factory: pytest.TempPathFactory
) -> EdgeSession:
    family = families(request.param)
    session = EdgeSession(family / "package", threads=1)
    for path in export_tasks(tmp_path_factory.mktemp(request.param), family / "base"):
        session.load(path)
    return session


def assert_as_row_by_row(session: EdgeSession, names: Names) -> None:
    inputs = session.encode(tiny.sentences(len(names), seed=3))
    mixed = session.run(inputs, tasks=names)
    assert mixed.tasks == tuple(names)
    for i, name in enumerate(names):
        row = {key: value[i : i + 1] for key, value in inputs.items()}
        alone = session.run(row, task=name)
        assert np.abs(mixed.hidden[i] - alone.hidden[0]).max() < 1e-5
        found = mixed.logits[i]
        if name is None:
            assert found is None
        else:
            assert found is not None and alone.logits is not None
            assert found.shape == (len(session.labels(name)),)
            assert np.abs(found - alone.logits[0]).max() < 1e-5


@pytest.mark.parametrize(
    "names",
    [
        ["task-0", "task-1", "task-2", None, "task-1"],
        ["task-2", None, "task-2"],
        ["task-1"] * 4,
        [None, None],
        ["task-0"],
    ],
)
def test_rows_get_what_they_get_alone(session: EdgeSession, names: Names) -> None:
    assert_as_row_by_row(session, names)


def test_the_same_rows_again_and_in_another_order(session: EdgeSession) -> None:
    for names in (["task-0", "task-1"], ["task-0", "task-1"], ["task-1", "task-0"]):
        assert_as_row_by_row(session, names)


def test_a_task_loaded_anew_under_a_name_is_the_one_that_answers(
    tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    session = EdgeSession(tiny_base, threads=1)
    session.load(tiny_bundles[0], name="a")
    session.load(tiny_bundles[1], name="b")
    inputs = session.encode(tiny.sentences(2))
    session.run(inputs, tasks=["a", "b"])
    session.unload("a")
    session.load(tiny_bundles[1], name="a")
    assert_as_row_by_row(session, ["a", "b"])


def test_a_cache_too_small_for_the_batch_changes_nothing(
    tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    session = EdgeSession(tiny_base, threads=1, cache_bytes=0)
    for path in tiny_bundles:
        session.load(path)
    assert_as_row_by_row(session, ["first", "second", "first", None])


def test_texts_of_several_tasks_are_classified_together(
    tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    session = EdgeSession(tiny_base, threads=1)
    for path in tiny_bundles:
        session.load(path)
    texts, names = tiny.sentences(4, seed=5), ["first", "second", "second", "first"]
    answers = session.classify(texts, tasks=names)
    for text, name, answer in zip(texts, names, answers, strict=True):
        alone = session.classify([text], task=name)[0]
        assert answer.label == alone.label
        assert answer.scores == pytest.approx(alone.scores, abs=1e-5)


def test_rows_and_tasks_must_fit(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> None:
    session = EdgeSession(tiny_base, threads=1)
    session.load(tiny_bundles[0])
    inputs = session.encode(tiny.sentences(2))
    for tasks in (["first"], ["first"] * 3, [], "first"):
        with pytest.raises(InputError) as refusal:
            session.run(inputs, tasks=tasks)
        assert refusal.value.code == "input.tasks"
    with pytest.raises(TaskError) as unknown:
        session.run(inputs, tasks=["first", "third"])
    assert unknown.value.code == "task.unknown"
    with pytest.raises(InputError):
        session.run(inputs, task="first", tasks=["first", "first"])  # type: ignore[call-overload]
    with pytest.raises(TaskError) as none:
        session.classify(["a", "b"], tasks=["first", None])  # type: ignore[list-item]
    assert none.value.code == "task.none"
