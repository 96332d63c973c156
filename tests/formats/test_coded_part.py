"""Coded bundles: integers come back as they were, stay coded until then, and damage is refused."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from osd_edge.errors import BundleError
from osd_edge.formats.bundle.coded import CodedLayer, CodedSite
from osd_edge.formats.bundle.coded_writer import encode_part
from osd_edge.formats.bundle.integers import IntegerSite
from osd_edge.formats.bundle.model import Bundle, StoredHead
from osd_edge.formats.bundle.plain import Matrix, PlainLayer
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.summary import summarize
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.coding.rows import decode_rows
from osd_edge.formats.container import pack, read_header, read_tensors
from tests.support.integers import layer, plainly, scales, site

Array = NDArray[Any]


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    indices = sorted(draw(st.sets(st.integers(0, 999), max_size=5)))
    sizes = [draw(st.tuples(st.integers(1, 40), st.integers(1, 40))) for _ in indices]
    ranks = [draw(st.integers(1, min(size))) for size in sizes]
    ends = np.cumsum(ranks)
    parts = np.split(scales(random, sum(ranks)), ends[:-1]) if indices else []
    sites = [
        site(random, index, *size, k, scale)
        for index, size, k, scale in zip(indices, sizes, ranks, parts, strict=True)
    ]
    hidden, labels = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    layers = (
        layer(random, hidden, 7, draw(st.integers(0, 9)), draw(st.booleans())),
        layer(random, labels, hidden, draw(st.integers(0, 3)), draw(st.booleans())),
    )
    return Bundle(
        task="coded",
        task_version="1",
        labels=tuple(f"label {i}" for i in range(labels)),
        base="0" * 64,
        site_count=1000,
        values="coded",
        sites=tuple(sites),
        head=StoredHead("labels", "cls", layers),
    )


def same(one: Any, other: Any) -> bool:
    """Equal numbers everywhere, whatever integers hold them."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
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
    assert same(bundle, read.decoded())
    assert write_bundle(read) == data == write_bundle(read.decoded())
    for before, after in zip(bundle.sites, read.sites, strict=True):
        assert isinstance(after, CodedSite)
        assert (before.site, before.n, before.d, before.k) == (
            *(after.site, after.n, after.d, after.k),
        )
        assert same(before.decode(), after.decode())
    for one, other in zip(bundle.head.layers, read.head.layers, strict=True):
        assert isinstance(other, CodedLayer)
        assert (one.activation, one.shape, one.rank) == (other.activation, other.shape, other.rank)
        assert same(one.decode(), other.decode())


@given(bundles())
@settings(deadline=None, max_examples=20)
def test_parts_of_a_bundle_that_was_read_may_be_left_out(bundle: Bundle) -> None:
    read = read_bundle(write_bundle(bundle))
    emptied = replace(read, sites=())
    assert emptied.decoded().sites == ()
    assert write_bundle(emptied) == write_bundle(replace(bundle, sites=()))
    last = replace(read, sites=read.sites[-1:])
    assert same(last.decoded().sites, bundle.sites[-1:])
    parts = (bundle.sites[1:], bundle.head.layers)
    assert write_bundle(replace(read, sites=read.sites[1:])).endswith(encode_part(*parts))  # type: ignore[arg-type]


@cache
def example() -> bytes:
    """A small bundle of two sites, and a head of two layers."""
    random = np.random.default_rng(3)
    scale = scales(random, 5)
    sites = (site(random, 4, 9, 14, 3, scale[:3]), site(random, 9, 14, 9, 2, scale[3:]))
    head = StoredHead(
        "labels", "cls", (layer(random, 5, 7, 2, True), layer(random, 2, 5, 0, False))
    )
    return write_bundle(Bundle("coded", "1", ("no", "yes"), "0" * 64, 1000, "coded", sites, head))


@given(st.data())
@settings(deadline=None, max_examples=600)
def test_other_bytes_of_a_sealed_file_are_read_or_refused_by_a_code(data: st.DataObject) -> None:
    """Someone who computes the digest may say anything; nothing but BundleError comes out."""
    metadata, entries, start = read_header(example())
    tensors = dict(read_tensors(example(), entries, start))
    coded = bytearray(tensors["osd.coded"].tobytes())
    for _ in range(data.draw(st.integers(1, 3))):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(coded)))
        coded[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    tensors["osd.coded"] = np.frombuffer(bytes(coded), np.uint8)
    sealed = pack(tensors, metadata)
    try:
        bundle = read_bundle(sealed)
    except BundleError as error:
        assert error.code not in ("bundle.digest", "bundle.header-json"), "the file is sealed"
    else:
        assert write_bundle(bundle) == sealed
        again = replace(bundle.decoded(), task="again")
        assert same(read_bundle(write_bundle(again)).decoded(), again)


def test_what_cannot_be_coded_is_not_written() -> None:
    bundle = read_bundle(example()).decoded()
    first = bundle.sites[0]
    assert isinstance(first, IntegerSite)
    zero = first.u.copy()
    zero[0] = 0
    for changed, message in (
        (replace(first, u=zero), "all zeros"),
        (replace(first, scale=first.scale * np.float32(1.01)), "grid"),
        (replace(first, u=np.full_like(first.u, 70_000, np.int32)), "65552"),
        (plainly(first), "integers alone"),
    ):
        with pytest.raises(ValueError, match=message):
            write_bundle(replace(bundle, sites=(changed,)))
    with pytest.raises(ValueError, match="fp32"):
        write_bundle(replace(bundle, values="fp32"))
    plain = PlainLayer(None, None, weight=Matrix(np.ones((2, 7), np.float32)))
    with pytest.raises(ValueError, match="integers alone"):
        write_bundle(replace(bundle, head=replace(bundle.head, layers=(plain,))))


def test_a_bundle_used_as_soon_as_it_was_read_is_decoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = example()
    decoded: list[Any] = []

    def counted(*arguments: Any) -> Any:
        decoded.append(arguments)
        return decode_rows(*arguments)

    monkeypatch.setattr("osd_edge.formats.bundle.coded.decode_rows", counted)
    bundle = read_bundle(data)
    for read in bundle.sites:
        read.decode()
    bundle.head.decode()
    assert len(decoded) == 1


def test_sizes_add_up() -> None:
    read = read_bundle(example())
    bundle = read.decoded()
    size = len(encode_part(bundle.sites, bundle.head.layers))  # type: ignore[arg-type]
    assert example()[-size:] == encode_part(read.sites, read.head.layers)  # type: ignore[arg-type]
    summary = summarize(read, len(example()))
    parts = dict(summary["bytes"])
    assert parts.pop("file") == sum(parts.values()) == len(example())
    assert parts["rest"] > 0 and parts["positions"] == 0
    factors = [f for s in bundle.sites if isinstance(s, IntegerSite) for f in (s.u, s.v)]
    assert summary["nonzeros"] == sum(int(np.count_nonzero(factor)) for factor in factors)


def test_a_header_of_a_few_labels_is_small() -> None:
    random = np.random.default_rng(0)
    head = StoredHead("labels", "pooler", (layer(random, 6, 384, 0, True),))
    labels = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    data = write_bundle(Bundle("trec", "1", labels, "0" * 64, 37, "coded", (), head))
    assert int.from_bytes(data[:8], "little") + 8 <= 600
