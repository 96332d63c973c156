"""Bundles: what is written is what is read, and nothing else is read at all."""

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osd_edge.errors import BundleError, InputError
from osd_edge.formats.bundle.model import Bundle, StoredHead
from osd_edge.formats.bundle.plain import (
    VALUE_TYPES,
    Matrix,
    PlainLayer,
    PlainSite,
)
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.bundle.probe import Probe, ProbeCase
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.bundle.vectors import VectorDelta
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.coding.scales import snap_scales
from osd_edge.formats.container import pack, read_header, read_tensors
from osd_edge.formats.limits import task_name

Array = np.ndarray[Any, np.dtype[Any]]

VALUE_NAMES = st.sampled_from(sorted(VALUE_TYPES))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCALE = st.floats(-(2.0**64), 2.0**64, width=32)


def numbers(draw: st.DrawFn, values: str, shape: tuple[int, ...]) -> Array:
    """Any bits that are finite numbers; many zeros, so that all codings come up."""
    dtype = VALUE_TYPES[values]
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    array = np.frombuffer(random.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).copy()
    array[~np.isfinite(array)] = 0
    array[random.random(array.size) < draw(st.sampled_from([0, 0.3, 0.8, 0.99, 1]))] = 0
    return array.reshape(shape)


def scales(draw: st.DrawFn, values: str, rows: int) -> Array | None:
    if values != "int8":
        return None
    return np.array(draw(st.lists(SCALE, min_size=rows, max_size=rows)), np.float32)


@st.composite
def heads(draw: st.DrawFn, labels: int) -> StoredHead:
    widths = [*draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)), labels]
    layers = []
    for d, n in pairwise(widths):
        values, rank = draw(VALUE_NAMES), draw(st.integers(0, 3))
        weight = u = v = None
        if rank:
            u = Matrix(numbers(draw, values, (rank, n)), scales(draw, values, rank))
            v = Matrix(numbers(draw, values, (rank, d)))
        else:
            weight = Matrix(numbers(draw, values, (n, d)), scales(draw, values, n))
        bias = numbers(draw, "fp32", (n,)) if draw(st.booleans()) else None
        activation = draw(st.sampled_from([None, "tanh", "relu", "gelu"]))
        layers.append(PlainLayer(activation, bias, weight, u, v))
    pooling = draw(st.sampled_from(["cls", "mean", "last", "pooler"]))
    return StoredHead("labels", pooling, tuple(layers))


@st.composite
def text_settings(draw: st.DrawFn) -> TaskText:
    found = TaskText(
        draw(st.none() | st.integers(1, 2**31 - 1)),
        draw(st.sampled_from([None, "left", "right"])),
        draw(st.none() | TEXT),
    )
    return found if found.described() else TaskText(prompt="query: ")


@st.composite
def probes(draw: st.DrawFn, outputs: int) -> Probe:
    logits = st.lists(FINITE, min_size=1, max_size=outputs).map(tuple)
    ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5).map(tuple)
    case = st.one_of(
        st.builds(ProbeCase, text=st.just("") | TEXT, pair=st.none() | TEXT, logits=logits),
        st.builds(ProbeCase, ids=ids, logits=logits),
        st.builds(ProbeCase, seed=st.integers(0, 65_535), logits=logits),
    )
    tolerance = draw(st.floats(0, 1, exclude_min=True))
    return Probe(tolerance, tuple(draw(st.lists(case, min_size=1, max_size=16))))


@st.composite
def vector_deltas(draw: st.DrawFn) -> tuple[VectorDelta, ...]:
    indices = sorted(draw(st.sets(st.integers(0, 65_534), max_size=4)))
    scales = snap_scales(np.array([draw(st.floats(0.25, 4)) for _ in indices]))
    # A reader gives int8 where no integer of any vector needs more than a tail.
    largest, dtype = draw(st.sampled_from([(16, np.int8), (65_552, np.int32)]))
    integers = st.integers(-largest, largest)
    found = []
    for vector, scale in zip(indices, scales, strict=True):
        codes = [largest, *draw(st.lists(integers, max_size=20))]
        found.append(VectorDelta(vector, np.array(codes, dtype), scale))
    return tuple(found)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    values = draw(VALUE_NAMES)
    sites = []
    for site in sorted(draw(st.sets(st.integers(0, 9), max_size=3))):
        n, d = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        k = draw(st.integers(1, min(n, d, 4)))
        u, v = (PlainFactor.of(numbers(draw, values, (k, width))) for width in (n, d))
        sites.append(PlainSite(site, u, v, scales(draw, values, k)))
    labels = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    return Bundle(
        task=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)),
        task_version=draw(TEXT),
        labels=tuple(labels),
        base=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        site_count=10,
        values=values,
        sites=tuple(sites),
        head=draw(heads(len(labels))),
        method=draw(
            st.dictionaries(TEXT, st.integers(-(10**15) + 1, 10**15 - 1) | TEXT, max_size=2)
        ),
        scores=draw(st.dictionaries(TEXT, FINITE, max_size=2)),
        sequence=draw(st.integers(0, 10**15 - 1)),
        text=draw(st.none() | text_settings()),
        probe=draw(st.none() | probes(len(labels))),
        vectors=draw(vector_deltas()),
    )


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit, arrays included."""
    if isinstance(one, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and one.tobytes() == bytes(other.tobytes())
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, f), getattr(other, f)) for f in one.__dataclass_fields__)
    return bool(one == other)


@given(bundles())
@settings(deadline=None)
def test_what_is_written_is_what_is_read(bundle: Bundle) -> None:
    data = write_bundle(bundle)
    read = read_bundle(data)
    assert same(bundle, read)
    assert write_bundle(read) == data, "equal bundles, equal bytes"
    for before, after in zip(bundle.sites, read.sites, strict=True):
        assert same(before.decode(), after.decode())
        assert all(np.isfinite(factor).all() for factor in after.decode())


@cache
def example() -> bytes:
    """A bundle of all three codings, with scales and a low-rank head."""

    def factor(count: int, k: int, width: int) -> PlainFactor:
        flat = np.zeros(k * width, np.int8)
        flat[:count] = 7
        return PlainFactor.of(flat.reshape(k, width))

    scale = np.array([0.5, 2], np.float32)
    u, v = Matrix(np.ones((2, 3), np.int8), scale), Matrix(np.ones((2, 4), np.int8))
    layer = PlainLayer("tanh", np.ones(3, np.float32), u=u, v=v)
    return write_bundle(
        Bundle(
            task="example",
            task_version="1",
            labels=("a", "b", "c"),
            base="0" * 64,
            site_count=3,
            values="int8",
            sites=(
                PlainSite(0, factor(10, 2, 5), factor(3, 2, 100), scale),
                PlainSite(2, factor(9, 2, 8), factor(0, 2, 6), scale),
            ),
            head=StoredHead("labels", "mean", (layer,)),
        )
    )


@given(st.integers(0, len(example()) - 1), st.integers(1, 255))
@settings(deadline=None, max_examples=600)
def test_a_changed_byte_is_refused(at: int, change: int) -> None:
    data = bytearray(example())
    data[at] ^= change
    with pytest.raises(BundleError):
        read_bundle(bytes(data))


def test_every_flipped_bit_of_a_few_bytes_around_each_border_is_refused() -> None:
    data = example()
    start = 8 + int.from_bytes(data[:8], "little")
    digest = data.index(b"osd.sha256")
    for border in (0, 8, digest, digest + 80, start, len(data)):
        for at in range(max(border - 12, 0), min(border + 12, len(data))):
            for bit in range(8):
                changed = bytearray(data)
                changed[at] ^= 1 << bit
                with pytest.raises(BundleError):
                    read_bundle(bytes(changed))


def test_a_file_cut_anywhere_is_refused() -> None:
    data = example()
    read_bundle(data)
    codes = set()
    for length in range(len(data)):
        with pytest.raises(BundleError) as refused:
            read_bundle(data[:length])
        codes.add(refused.value.code)
    assert codes == {"bundle.too-short", "bundle.header-length", "bundle.truncated"}


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: example()[:-70] + tail))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_bundle(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["osd.labels", "osd.head", "osd.site_count", "osd.task"]), JSON)
@settings(deadline=None)
def test_other_metadata_of_a_sealed_file_is_refused_by_a_code(key: str, value: Any) -> None:
    """Someone who computes the digest may say anything; nothing but BundleError comes out."""
    metadata, entries, start = read_header(example())
    tensors = read_tensors(example(), entries, start)
    try:
        read_bundle(pack(tensors, metadata | {key: json.dumps(value)}))
    except BundleError as error:
        assert error.code not in ("bundle.digest", "bundle.header-json"), "the file is sealed"


@given(st.data())
@settings(deadline=None)
def test_other_tensors_of_a_sealed_file_are_refused_by_a_code(data: st.DataObject) -> None:
    metadata, entries, start = read_header(example())
    tensors = dict(read_tensors(example(), entries, start))
    name = data.draw(st.sampled_from(sorted(tensors)))
    dtype = data.draw(st.sampled_from(["<f4", "<f2", "i1", "u1", "<u2", "<u4"]))
    shape = data.draw(st.sampled_from([tensors[name].shape, (), (0,), (2, 4), (2, 2), (4,)]))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    tensors[name] = np.frombuffer(raw, dtype).reshape(shape)
    try:
        bundle = read_bundle(pack(tensors, metadata))
    except BundleError as error:
        assert error.code not in ("bundle.digest", "bundle.header-json"), "the file is sealed"
    else:
        assert write_bundle(bundle) == pack(tensors, metadata), "only a canonical file is read"


def test_the_arrays_of_a_bundle_are_views_of_its_bytes() -> None:
    bundle = read_bundle(example())
    for site in bundle.sites:
        assert isinstance(site, PlainSite)
        assert not site.u.values.flags.owndata and not site.u.values.flags.writeable


def test_the_digest_is_put_in_its_own_place() -> None:
    bundle = replace(read_bundle(example()), base="0" * 64, task_version="0" * 64)
    assert read_bundle(write_bundle(bundle)).base == "0" * 64


@pytest.mark.parametrize("name", ["", ".a", "a b", "a/b", "ä", "a\n", "a" * 65])
def test_a_bad_task_name_is_refused_before_anything_is_written(name: str) -> None:
    with pytest.raises(InputError) as refused:
        write_bundle(replace(read_bundle(example()), task=name))
    assert refused.value.code == "input.task-name"
    assert task_name("Az0._-") == "Az0._-"


def test_a_digest_that_is_none_does_not_reach_a_terminal() -> None:
    data = example()
    header = read_header(data)[0]
    # As many bytes: a control sequence of a terminal in the place of the digits.
    hostile = data.replace(header["osd.sha256"].encode(), ("\x9b" * 31 + "ab").encode(), 1)
    with pytest.raises(BundleError) as refused:
        read_bundle(hostile)
    assert refused.value.code == "bundle.digest"
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sequence": -1}, "bundle.key-value"),
        ({"sequence": 10**15}, "bundle.key-value"),
        ({"signature": "x"}, "bundle.signature"),
        ({"text": TaskText()}, "bundle.text"),
        ({"text": TaskText(max_length=0)}, "bundle.text"),
        ({"probe": Probe(0.1, ())}, "bundle.probe"),
        ({"probe": Probe(0.1, (ProbeCase(text="a"),))}, "bundle.probe"),
        ({"probe": Probe(0.1, (ProbeCase(text="a", logits=(np.nan,)),))}, "bundle.probe"),
    ],
)
def test_what_readers_refuse_is_not_written(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(BundleError) as refused:
        write_bundle(replace(read_bundle(example()), **fields))
    assert refused.value.code == code


def test_more_metadata_than_is_read_is_not_written() -> None:
    header = {"info.note": "x" * (1 << 20)}
    with pytest.raises(BundleError, match="header of at most") as refused:
        pack({}, header)
    assert refused.value.code == "bundle.header-length"
