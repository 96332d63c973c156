"""What commands print for programs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.cli.output import print_json
from osd_edge.formats.container import parse_json


@given(st.recursive(st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_what_is_printed_is_json_whatever_the_numbers_are(value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("click.echo", printed.append)
        print_json(value)
    json.loads(printed[0], parse_constant=pytest.fail)


def test_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("-inf"), 0.5]})
    assert parse_json(capsys.readouterr().out) == {"a": None, "b": [None, 0.5]}
