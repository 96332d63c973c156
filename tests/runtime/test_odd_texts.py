"""Texts that are odd: cut by several threads, wrong lists, without a task."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from osd_edge.errors import BaseError, InputError, TaskError
from osd_edge.exporters import export_task
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.kinds import KINDS
from tests.support.packages import copied, listed_anew


@pytest.fixture
def session(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    session.activate(session.load(tiny_bundles[0]))
    return session


def test_a_session_reads_its_tokenizer_once(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    usual = tokenizers.Tokenizer

    class Counted:
        @staticmethod
        def from_buffer(data: bytes) -> Any:
            opened.append(data)
            return usual.from_buffer(data)

    monkeypatch.setattr(tokenizers, "Tokenizer", Counted)
    for length in (None, *range(3, 20)):
        session.classify(["a cat sat on the mat"], max_length=length)
    assert len(opened) == 1


def test_threads_cut_at_different_lengths(session: EdgeSession) -> None:
    """The length is a state of the shared tokenizer: no thread may get another's."""
    long = " ".join(tiny.sentences(30, seed=2))
    expected = {n: session.encode([long], max_length=n)["input_ids"] for n in (5, 17, 40, 64)}
    wrong = []

    def encode(length: int) -> None:
        for _ in range(200):
            found = session.encode([long], max_length=length)["input_ids"]
            if not np.array_equal(found, expected[length]):
                wrong.append(length)

    threads = [threading.Thread(target=encode, args=(length,)) for length in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and all(ids.shape == (1, n) for n, ids in expected.items())


def test_no_task_is_the_same_refusal_everywhere(session: EdgeSession) -> None:
    for ask in (session.classify, session.embed, session.tag):
        with pytest.raises(TaskError) as refusal:
            ask(["a cat"], task=None)  # type: ignore[arg-type]
        assert refusal.value.code == "task.none"


@pytest.mark.parametrize(
    "pairs", ["ab", [], [1, 2], [b"a", b"b"], ["a"], np.array([1, 2]), np.array("ab")]
)
def test_second_texts_that_are_no_list_of_texts(session: EdgeSession, pairs: Any) -> None:
    with pytest.raises(InputError) as refusal:
        session.classify(["a cat", "a dog"], pairs)
    assert refusal.value.code == "input.texts"
    assert "\n" not in str(refusal.value)


def changed_tokenizer(base: Path, to: Path, **fields: Any) -> EdgeSession:
    """A session over a copy of `base` whose tokenizer has these fields of its file changed."""
    copied(base, to)
    file = to / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | fields), "utf-8")
    listed_anew(to)
    return EdgeSession(to, threads=1)


def test_a_tokenizers_own_padding_is_no_text(
    session: EdgeSession, tiny_base: Path, tmp_path: Path
) -> None:
    padding = {
        "strategy": {"Fixed": 30},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    padded = changed_tokenizer(tiny_base, tmp_path / "base", padding=padding)
    expected, found = (each.encode(["a cat", "a dog ran"]) for each in (session, padded))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_tokenizer_that_gives_more_tokens_than_asked_for_is_refused(
    tiny_base: Path, tmp_path: Path
) -> None:
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    twice = {
        "type": "TemplateProcessing",
        "single": [sequence, sequence],
        "pair": [sequence, sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    }
    session = changed_tokenizer(tiny_base, tmp_path / "base", post_processor=twice)
    assert session.encode(["cat"], max_length=4)["input_ids"].shape[1] <= 4
    with pytest.raises(BaseError, match="where 4 were asked for") as refused:
        session.encode(["a cat sat on the mat"], max_length=4)
    assert refused.value.code == "base.text"


def test_a_length_without_room_for_what_is_put_around_texts_is_refused(
    session: EdgeSession,
) -> None:
    """BERT puts two tokens around a text, three around two, and may leave nothing else of it."""
    assert session.encode(["a cat"], max_length=2)["input_ids"].shape == (1, 2)
    assert session.encode(["a cat"], ["a dog"], max_length=3)["input_ids"].shape == (1, 3)
    for pairs, length in ((None, 1), (["a dog"], 2)):
        with pytest.raises(InputError, match=f"max_length: .*, found {length}") as refused:
            session.encode(["a cat"], pairs, max_length=length)
        assert refused.value.code == "input.max-length"


def test_a_tokenizer_that_gives_a_question_no_tokens_finds_no_answer(
    tiny_base: Path, tiny_models: Path, tmp_path: Path
) -> None:
    task, settings = KINDS["spans"]
    tiny.make_tuned(tiny_models / "base", tmp_path / "tuned", task=task, **settings)
    bundle = tmp_path / "spans.osd.safetensors"
    export_task(tiny_models / "base", tmp_path / "tuned", bundle, method="truncsvd", budget="r=1")
    nothing: dict[str, Any] = {"type": "TemplateProcessing", "single": [], "pair": []}
    session = changed_tokenizer(
        tiny_base, tmp_path / "base", post_processor=nothing | {"special_tokens": {}}
    )
    session.load(bundle)
    try:
        assert session.answer("cat", "the cat", task="spans") == []
    except BaseError as error:
        assert error.code == "base.text"
