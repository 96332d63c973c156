"""Prompts with completions, and conversations, from a `.jsonl`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge import Example, read_examples
from osd_edge.errors import DataError, InputError

TURNS = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_each_form_of_a_row_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"prompt": "play some jazz\n", "completion": '{"intent": "PlayMusic"}', "id": 7},
        {"prompt": "猫が"},
        {"messages": TURNS},
        {"prompt": "say nothing", "completion": ""},
    )
    assert read_examples(path) == (
        Example("play some jazz\n", completion='{"intent": "PlayMusic"}'),
        Example("猫が"),
        Example("hello", messages=TURNS),
        Example("say nothing", completion=""),
    )


@pytest.mark.parametrize(
    "row",
    [
        "text",
        [],
        {},
        {"text": 3},
        {"text": " "},
        {"text": "a", "emotion": "joy"},
        {"text": "a", "sentence": "b"},
        {"text": "a", "label": True},
        {"text": "a", "labels": "joy"},
        {"text": "a", "entities": [[0, 1, "PER"]]},
        {"text": "a", "entities": [{"start": 0, "end": 2, "label": "PER"}]},
        {"question": "a", "context": "b", "answers": 3},
        {"tokens": ["a", "b"], "tags": ["O"]},
        {"tokens": ["a"]},
        {"tokens": [""], "tags": ["O"]},
        {"prompt": 3},
        {"prompt": ""},
        {"prompt": "a", "completion": 3},
        {"prompt": "a", "messages": TURNS},
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": None}]},
    ],
)
def test_other_rows_are_refused_by_their_line(tmp_path: Path, row: Any) -> None:
    path = written(tmp_path, {"prompt": "a", "completion": "b"}, row)
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert refused.value.code == "data.row" and "line 2" in str(refused.value)


def test_each_form_of_a_text_with_its_answer_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"Sentence": "a dull film", "Label": "negative", "split": "train"},
        {"text": "a dull film", "label": 0},
        {"text": "a dull film", "id": 7},
        {"sentence1": "a cat", "sentence2": "a dog", "score": 2.5},
        {"text": "a dull film", "labels": ["sad", "angry"]},
        {"question": "who?", "context": "Ada", "answers": {"text": ["Ada"], "answer_start": [0]}},
        {"tokens": ["Ada", "lives"], "ner_tags": ["B-PER", "O"]},
        {"text": "Ada lives", "entities": [{"start": 0, "end": 3, "label": "PER"}]},
        {"anchor": "a cat", "positive": "a kitten"},
    )
    assert read_examples(path) == (
        Example("a dull film", "negative"),
        Example("a dull film", "0"),
        Example("a dull film"),
        Example("a cat", "2.5", "a dog"),
        Example("a dull film", labels=("sad", "angry")),
        Example("who?", text_pair="Ada", answers=("Ada",)),
        Example("Ada lives", words=("Ada", "lives"), tags=("B-PER", "O")),
        Example("Ada lives", parts=((0, 3, "PER"),)),
        Example("a cat", text_pair="a kitten"),
    )


def test_a_file_that_is_one_list_is_told_how_to_become_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('[{"text": "a"}, {"text": "b"}]\n')
    with pytest.raises(DataError, match="jq -c"):
        read_examples(path)


def test_a_row_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match="line 2: expected a JSON object"):
        read_examples(path)
    path.write_text("\n")
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert refused.value.code == "data.empty"


def test_messages_are_checked_where_an_example_is_made() -> None:
    with pytest.raises(InputError) as refused:
        Example("hello", messages=[{"role": "user"}])
    assert refused.value.code == "input.messages"
    assert hash(Example("hello", messages=TURNS)) == hash(Example("hello", messages=None))


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=5))
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = written(
        tmp_path_factory.mktemp("rows"), *({"prompt": p, "completion": c} for p, c in rows)
    )
    assert [(e.text, e.completion) for e in read_examples(path)] == rows


def test_a_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "\\ud800"}\n')
    with pytest.raises(DataError, match=r"line 1: .* not valid Unicode") as refused:
        read_examples(path)
    assert refused.value.code == "data.row"
