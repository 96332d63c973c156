"""The bytes of an answer."""

import json

from hypothesis import given
from hypothesis import strategies as st

from osd_edge.runtime.api.exchange import _bytes


@given(st.text() | st.sampled_from(["a\u2028b", "\u2029", "\x85", "\ud800"]))
def test_an_event_is_one_line_for_every_client_and_says_the_text(text: str) -> None:
    line = _bytes({"content": text})
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == {"content": text}
