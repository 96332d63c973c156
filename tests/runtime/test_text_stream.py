"""Text as it comes: whole characters, and stop texts held back until it is sure that they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.runtime.generation.text_stream import TextStream
from tests.support.writers import byte_tokenizer

TOKENIZER: Any = byte_tokenizer().backend_tokenizer
TEXT = "猫 über 🙂🙃 the cat"


def pieces(tokens: list[int], *stop: str) -> tuple[list[str], TextStream]:
    stream = TextStream(TOKENIZER, stop)
    found = []
    for token in tokens:
        found.append(stream.step(token))
        if stream.stopped:
            break
    return [*found, stream.end()], stream


def test_characters_of_several_tokens_come_whole() -> None:
    tokens = TOKENIZER.encode(TEXT).ids
    found, _ = pieces(tokens)
    assert "".join(found) == TEXT
    assert "" in found and not any("\ufffd" in piece for piece in found)


def test_a_character_that_never_ends_is_left_out() -> None:
    tokens = TOKENIZER.encode("a🙂").ids[:-1]
    assert "".join(pieces(tokens)[0]) == "a"
    both = next(token for token in range(300) if TOKENIZER.decode([token]) == " \ufffd")
    assert "".join(pieces([both])[0]) == " "


@given(st.text(max_size=30))
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(TOKENIZER.encode(text).ids)[0]) == text


@given(st.lists(st.integers(3, len(TOKENIZER.get_vocab()) + 4), max_size=40))
def test_pieces_of_any_tokens_are_what_the_tokenizer_makes_of_them(tokens: list[int]) -> None:
    joined = "".join(pieces(tokens)[0])
    whole = TOKENIZER.decode(tokens)
    assert whole.startswith(joined) and set(whole[len(joined) :]) <= {"\ufffd"}


@pytest.mark.parametrize("stop", ["cat", "🙃 the", "the cat", "猫", "t"])
def test_a_stop_text_ends_the_text_before_it(stop: str) -> None:
    found, stream = pieces(TOKENIZER.encode(TEXT).ids, "elsewhere", stop)
    assert stream.stopped and "".join(found) == TEXT[: TEXT.index(stop)]


def test_the_first_of_several_stop_texts_ends_it() -> None:
    found, _ = pieces(TOKENIZER.encode("abcdef").ids, "ef", "bc", "c")
    assert "".join(found) == "a"


def test_what_may_become_a_stop_text_waits_until_it_is_sure() -> None:
    stream = TextStream(TOKENIZER, ["aab"])
    given = [TOKENIZER.encode(letter).ids[0] for letter in "aaac"]
    assert [stream.step(token) for token in given] == ["", "", "a", "aac"]
    stream = TextStream(TOKENIZER, ["aab"])
    assert (stream.step(given[0]), stream.end()) == ("", "a")


def test_special_tokens_are_no_text() -> None:
    tokens = [*TOKENIZER.encode("the").ids, 1, *TOKENIZER.encode("cat").ids]
    assert "".join(pieces(tokens)[0]) == "thecat"
