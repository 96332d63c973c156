"""Coded rows: what is coded decodes to itself, near the entropy; anything else is refused."""

import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from osd_edge.errors import BundleError
from osd_edge.formats.coding import tables
from osd_edge.formats.coding.rows import MAX_INTEGER, decode_rows, encode_rows, row_bits
from osd_edge.formats.coding.scales import scale_values, snap_scales

Array = NDArray[Any]
DOC = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text("utf-8")


@st.composite
def blocks(draw: st.DrawFn, rows: int = 5, width: int = 60) -> list[Array]:
    """Blocks of rows of every density and size of integers, zeros and the largest included."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        shape = (draw(st.integers(1, rows)), draw(st.integers(1, width)))
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        most = draw(st.sampled_from([1, 2, 3, 7, 17, 18, 300, MAX_INTEGER]))
        density = draw(st.sampled_from([0, 0.01, 0.2, 0.5, 0.9, 1]))
        made.append(random.integers(-most, most + 1, shape) * (random.random(shape) < density))
    return made


def coded(rows: Sequence[Array]) -> Array:
    return np.frombuffer(encode_rows(rows), np.uint8)


def shapes(rows: Sequence[Array]) -> list[tuple[int, int]]:
    return [(block.shape[0], block.shape[1]) for block in rows]


def same(one: Sequence[Array], other: Sequence[Array]) -> bool:
    return all(map(np.array_equal, one, other)) and len(one) == len(other)


def synthetic(seed: int, columns: int, width: int) -> list[Array]:
    """Like the columns of a compressed delta: densities differ, magnitudes fall fast."""
    random = np.random.default_rng(seed)
    density = 1 / (1 + np.exp(-random.normal(-1.3, 1, (columns, 1))))
    size = random.geometric(0.7, (columns, width)) * (random.random((columns, width)) < density)
    return [size * random.choice([-1, 1], size.shape)]


@given(blocks())
@settings(deadline=None, max_examples=200)
def test_what_is_coded_decodes_to_itself(rows: list[Array]) -> None:
    data = coded(rows)
    assert same(decode_rows(data, shapes(rows)), rows)
    assert encode_rows(rows) == data.tobytes(), "equal rows, equal bytes"


@pytest.mark.parametrize(("columns", "width"), [(3, 500), (40, 384), (300, 1001), (2000, 700)])
def test_many_lanes_decode_too(columns: int, width: int) -> None:
    rows = synthetic(columns, columns, width)
    data = coded(rows)
    assert same(decode_rows(data, shapes(rows)), rows)
    assert data[columns] == {3: 2, 40: 5, 300: 9, 2000: 11}[columns]


def plainly(data: bytes, sizes: Sequence[tuple[int, int]]) -> list[list[list[int]]]:
    """The format page followed word for word: one symbol at a time, nothing shared."""
    nonzero, large, tails = lists_of_the_page()
    widths = [width for count, width in sizes for _ in range(count)]
    classes, at = data[: len(widths)], len(widths)
    lanes = 1 << data[at]
    states = [int.from_bytes(data[at + 1 + 4 * i : at + 5 + 4 * i], "little") for i in range(lanes)]
    at += 1 + 4 * lanes

    def patterns(code: int) -> list[int]:
        n = nonzero[code >> 3]
        more = max(1, (n * large[code & 7] + 128) // 256) if code & 7 else 0
        chance = [1024 - n, n - more, more]
        starts, before, some = [], 0, 0
        for i in range(82):
            starts.append(some + before * (4096 - (81 if code & 7 else 16)) // 2**40)
            digits = [i // 3**j % 3 for j in range(4)]
            weight = chance[digits[0]] * chance[digits[1]] * chance[digits[2]] * chance[digits[3]]
            before, some = before + weight, some + (weight > 0)
        return starts

    def ends(code: int) -> list[int]:
        return [sum(tails[(code & 7) - 1][:i]) for i in range(17)]

    def decode(tables: list[list[int]]) -> list[int]:
        nonlocal at
        symbols = []
        for begin in range(0, len(tables), lanes):
            step = tables[begin : begin + lanes]
            for lane, starts in enumerate(step):
                x = states[lane]
                symbol = max(i for i, start in enumerate(starts) if start <= x % 4096)
                f = starts[symbol + 1] - starts[symbol]
                states[lane] = f * (x // 4096) + x % 4096 - starts[symbol]
                symbols.append(symbol)
            for lane in range(len(step)):
                if states[lane] < 2**16:
                    word = int.from_bytes(data[at : at + 2], "little")
                    states[lane], at = states[lane] * 2**16 + word, at + 2
        return symbols

    groups = [
        code for code, width in zip(classes, widths, strict=True) for _ in range(-(-width // 4))
    ]
    found = decode([patterns(code) for code in groups])
    slots = [symbol // 3**j % 3 for symbol in found for j in range(4)]
    of = [code for code in groups for _ in range(4)]
    tail = iter(decode([ends(code) for code, t in zip(of, slots, strict=True) if t == 2]))
    size = [t if t < 2 else 2 + next(tail) for t in slots]
    raw = [x >> j & 1 for x in states for j in range(x.bit_length() - 1)]
    raw += [byte >> j & 1 for byte in data[at:] for j in range(8)]
    bits = iter(raw)
    sign = [0 if not q else -1 if next(bits) else 1 for q in size]
    size = [q if q < 17 else q + sum(next(bits) << j for j in range(16)) for q in size]
    assert not any(bits)
    flat = iter([a * b for a, b in zip(sign, size, strict=True)])
    rows = [[next(flat) for _ in range(-(-width // 4) * 4)] for width in widths]
    assert not any(any(row[width:]) for row, width in zip(rows, widths, strict=True))
    whole = iter([row[:width] for row, width in zip(rows, widths, strict=True)])
    return [[next(whole) for _ in range(count)] for count, _ in sizes]


def lists_of_the_page() -> tuple[list[int], list[int], list[list[int]]]:
    """N, M and the tails' frequencies, as the format page has them."""
    numbers = re.search(r"^N  ([\d, \n]+)^M  ([\d, ]+)$", DOC, re.MULTILINE)
    assert numbers is not None
    tails = re.findall(r"^g = \d  ([\d, ]+)$", DOC, re.MULTILINE)
    nonzero, large, *rest = [
        [int(x) for x in re.findall(r"\d+", t)] for t in (*numbers.groups(), *tails)
    ]
    return nonzero, large, rest


@given(blocks(3, 30))
@settings(deadline=None, max_examples=40)
def test_the_page_read_word_for_word_gives_the_same(rows: list[Array]) -> None:
    assert plainly(encode_rows(rows), shapes(rows)) == [block.tolist() for block in rows]


def test_so_it_does_with_lanes() -> None:
    rows = synthetic(5, 12, 301)
    assert encode_rows(rows)[12] == 3
    assert plainly(encode_rows(rows), shapes(rows)) == [block.tolist() for block in rows]


def test_the_page_has_the_tables_of_the_source() -> None:
    nonzero, large, tails = lists_of_the_page()
    assert (tuple(nonzero), tuple(large)) == (tables.NONZERO, tables.LARGE)
    assert np.array_equal(tails, tables.TAIL_FREQUENCIES)
    steps = re.findall(r"\b3f[89a-f][0-9a-f]{5}\b", DOC)
    assert steps == [f"{x:08x}" for x in scale_values(np.arange(16)).view(np.uint32)]


def test_tables_are_whole_and_leave_a_bound() -> None:
    for starts in (tables.pattern_starts(), tables.tail_starts()):
        frequencies = np.diff(starts, axis=1)
        assert (starts[:, 0] == 0).all() and (starts[:, -1] == 4096).all()
        assert frequencies.min() >= 0 and frequencies.max() <= 4017
        whole = (frequencies > 0).all(axis=1)
        assert whole.all() or np.array_equal(whole, np.arange(256) % 8 > 0), "any row has a class"


@given(blocks())
@settings(deadline=None)
def test_row_bits_is_what_rows_take(rows: list[Array]) -> None:
    total = sum(row_bits(block).sum() for block in rows)
    data = coded(rows)
    lanes = 1 << int(data[sum(len(block) for block in rows)])
    assert abs(8 * data.size - 8 - total) < 32 + 2 * lanes + 8 + total / 50


def test_a_class_is_near_the_entropy() -> None:
    """Rows whose statistics are known: within 3 % of the entropy, class bytes included."""
    for density in (0.03, 0.1, 0.25, 0.5, 0.8):
        random = np.random.default_rng(1)
        shape = (1, 20_000)
        size = random.geometric(0.72, shape) * (random.random(shape) < density)
        row = size * random.choice([-1, 1], shape)
        _, counts = np.unique(row, return_counts=True)
        entropy = -(counts * np.log2(counts / row.size)).sum()
        assert row_bits(row)[0] < 1.03 * entropy


@given(blocks(), st.data())
@settings(deadline=None, max_examples=300)
def test_changed_bytes_are_decoded_or_refused(rows: list[Array], data: st.DataObject) -> None:
    changed = coded(rows).copy()
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, changed.size - 1))] = data.draw(st.integers(0, 255))
    cut = changed[: data.draw(st.integers(0, changed.size) | st.just(changed.size))]
    claimed = shapes(rows)
    if data.draw(st.booleans()):
        claimed[0] = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 10**7)))
    try:
        decoded = decode_rows(cut, claimed)
    except BundleError as error:
        assert error.code in ("bundle.coded-stream", "bundle.coded-size")
    else:
        assert shapes(decoded) == claimed


def test_nothing_is_decoded_that_its_bytes_cannot_hold() -> None:
    data = coded(synthetic(1, 4, 400))
    for claimed in ((data.size, 4), (10**30, 10**30)):
        with pytest.raises(BundleError) as refused:
            decode_rows(data, [claimed])
        assert refused.value.code == "bundle.coded-size"
    with pytest.raises(BundleError) as refused:
        decode_rows(data, [(1, 10**6)])
    assert refused.value.code == "bundle.coded-stream"


def test_more_symbols_than_are_decoded_at_once() -> None:
    wide = np.zeros((3, 400_000), np.int8)
    wide[:, ::997] = 5
    rows = [*synthetic(1, 4, 400), wide, np.zeros((1, 4_000_000), np.int8)]
    data = coded(rows)
    assert same(decode_rows(data, shapes(rows)), rows)


def test_zeros_take_a_byte_each_while_they_are_decoded() -> None:
    rows = [np.zeros((1, 8_000_000), np.int8)]
    data = coded(rows)
    tracemalloc.start()
    decode_rows(data, shapes(rows))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * rows[0].size


@pytest.mark.parametrize("groups", [1024, 1025, 2049, 5000])
def test_a_step_for_each_symbol_is_not_asked_for(groups: int) -> None:
    rows = [np.zeros((1, 4 * groups), np.int8)]
    data = coded(rows)
    assert same(decode_rows(data, shapes(rows)), rows)
    assert groups <= 1024 << int(data[1])
    if data[1] == 1:
        with pytest.raises(BundleError, match="lanes"):
            decode_rows(data, [(1, 4 * 2049)])


def test_an_integer_too_large_is_no_row() -> None:
    with pytest.raises(ValueError, match="65552"):
        encode_rows([np.array([[MAX_INTEGER + 1]])])


@given(st.lists(st.floats(2.0**-45, 2.0**45), min_size=1, max_size=9))
def test_scales_are_snapped_to_the_nearest_of_the_grid(scales: list[float]) -> None:
    snapped = snap_scales(np.array(scales))
    assert np.array_equal(snap_scales(snapped), snapped)
    near = np.array(scales) > max(scales) * 2.0 ** (-255 / 16)
    assert (np.abs(snapped / scales - 1)[near] < 0.0219).all()
    assert (snapped > 0).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_no_positive_number(scale: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        snap_scales(np.array([scale]))
