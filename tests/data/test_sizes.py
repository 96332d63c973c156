"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.data.sizes import format_size, parse_size
from osd_edge.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("0", 0),
        ("16KiB", 16 * 1024),
        ("16 kib", 16 * 1024),
        (" 1.5MB ", 1_500_000),
        ("2GiB", 2 << 30),
        ("3gb", 3 * 10**9),
        ("7 B", 7),
        ("0.5kB", 500),
    ],
)
def test_sizes_that_people_write(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "-1", "1e3", "1,5MB", "16 KB/s", "1TB", ".5MB", "1.MB", "nan", "0x10"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_size(text)
    assert refused.value.code == "input.size"
    assert repr(text) in str(refused.value)


@given(st.integers(0, 2**40))
def test_a_plain_number_is_bytes(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (1024, "1.0 KiB"),
        (16_300, "15.9 KiB"),
        (1_500_000, "1.4 MiB"),
        (5 << 30, "5.0 GiB"),
        (5000 << 30, "5000.0 GiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**40))
def test_what_is_shown_reads_back_to_within_its_last_digit(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.05, abs=1)
