"""Position codes: the smallest of three, exactly one code for each set of positions."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.errors import BundleError
from osd_edge.formats.coding import positions


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Masks of every density, from a single slot to a few hundred."""
    slots = draw(st.integers(1, 400))
    mask = np.zeros(slots, bool)
    mask[list(draw(st.sets(st.integers(0, slots - 1), max_size=40)))] = True
    return ~mask if draw(st.booleans()) else mask


@given(masks())
def test_what_is_coded_decodes_to_itself(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    count = int(mask.sum())
    code = np.frombuffer(positions.encode(mask), np.uint8)
    assert code.size == positions.byte_count(mask.size, count)
    where = positions.decode(code, mask.size, count)
    expected = np.flatnonzero(mask)
    assert where is None if mask.all() else np.array_equal(expected, np.asarray(where))


@given(st.integers(1, 1 << 32), st.data())
def test_the_coding_is_the_smallest(slots: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, slots) | st.integers(0, min(slots, 40)))
    width = (slots - 1).bit_length()
    sizes = {"bitmap": (slots + 7) // 8, "indices": width * ((count + 7) // 8)}
    if count == slots:
        sizes = {"dense": 0} | sizes
    # min takes the first of equals: dense, bitmap, indices
    assert positions.coding(slots, count) == min(sizes, key=lambda name: sizes[name])
    assert positions.byte_count(slots, count) == min(sizes.values())


@given(st.integers(1, 300), st.data())
def test_any_bytes_are_a_canonical_code_or_refused(slots: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, min(slots, 20)))
    size = positions.byte_count(slots, count)
    code = data.draw(st.binary(min_size=size, max_size=size))
    try:
        where = positions.decode(np.frombuffer(code, np.uint8), slots, count)
    except BundleError as error:
        assert error.code == "bundle.positions"
        return
    mask = np.zeros(slots, bool)
    mask[... if where is None else where] = True
    assert int(mask.sum()) == count
    assert positions.encode(mask) == code


@pytest.mark.parametrize(
    ("slots", "count", "kind", "size"),
    [
        (1, 1, "dense", 0),
        (1, 0, "indices", 0),
        (2, 1, "bitmap", 1),
        (48, 8, "bitmap", 6),
        (49, 8, "indices", 6),
        (64, 8, "indices", 6),
        (64, 9, "bitmap", 8),
        (256, 1, "indices", 8),
        (257, 1, "indices", 9),
        (65535**2, 1, "indices", 32),
        (65535**2, 65535**2, "dense", 0),
    ],
)
def test_where_one_coding_gives_way_to_another(
    slots: int, count: int, kind: str, size: int
) -> None:
    assert (positions.coding(slots, count), positions.byte_count(slots, count)) == (kind, size)


def test_indices_lie_in_planes() -> None:
    mask = np.zeros(64, bool)
    mask[[5, 37]] = True  # 000101 and 100101 in binary
    code = positions.encode(mask)
    assert code.hex() == "030003000002"
    where = positions.decode(np.frombuffer(code, np.uint8), 64, 2)
    assert where is not None and where.tolist() == [5, 37]


def test_the_widest_index_needs_no_mask() -> None:
    slots = 65535**2
    planes = np.array([slots - 1 >> bit & 1 for bit in range(32)], np.uint8)
    where = positions.decode(planes, slots, 1)
    assert where is not None and where.tolist() == [slots - 1]
    with pytest.raises(BundleError, match="malformed"):
        positions.decode(np.ones(32, np.uint8), slots, 1)


def test_the_examples_in_the_module() -> None:
    failed, tried = doctest.testmod(positions)
    assert (failed, tried > 0) == (0, True)
