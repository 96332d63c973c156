"""A small file cannot make a reader take much memory, whatever it claims, without a base too."""

import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from osd_edge.errors import BundleError
from osd_edge.formats.bundle.coded import forget_decoded
from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix
from osd_edge.formats.bundle.model import Bundle, StoredHead
from osd_edge.formats.bundle.plain import PlainSite
from osd_edge.formats.bundle.plain_factor import PlainFactor
from osd_edge.formats.bundle.reader import read_bundle
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.container import pack, read_header
from osd_edge.formats.limits import SLOTS_PER_BYTE

LANES = 4096
ZEROS = 4017  # quantiles of a group of zeros in the sparsest class: no symbol has more


def zeros(words: int) -> bytes:
    """A coded bundle of `words` words a lane, whose head is a row of as many zeros as they hold."""
    state, symbols = 1 << 16, 0
    taken: list[int] = []
    while state < ZEROS << 20 or len(taken) < words:
        if state >= ZEROS << 20:
            taken.append(state & 0xFFFF)
            state >>= 16
        state = (state // ZEROS << 12) + state % ZEROS
        symbols += 1
    # No site; a layer's scale; no bias; a class; 4,096 lanes.
    part = b"\0" + struct.pack("<hbh", 0, 0, -32768) + b"\0" + b"\x0c"
    part += struct.pack("<I", state) * LANES
    part += b"".join(struct.pack("<H", word) * LANES for word in reversed(taken))
    layer = {"shape": [1, 4 * symbols * LANES], "rank": 0, "activation": None}
    head = {"kind": "labels", "pooling": "cls", "layers": [layer]}
    metadata = {
        "osd.format": "1",
        "osd.task": "zeros",
        "osd.task_version": "",
        "osd.base": "a" * 64,
        "osd.site_count": "0",
        "osd.labels": '["x"]',
        "osd.head": json.dumps(head),
    }
    return pack({"osd.coded": np.frombuffer(part, np.uint8)}, metadata)


def peak(data: bytes, code: str | None) -> int:
    """The most memory that reading `data` takes, in bytes; it is refused with `code`."""
    tracemalloc.start()
    try:
        read_bundle(data)
        found = None
    except BundleError as error:
        found = str(error.code)
    finally:
        forget_decoded()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == code
    return most


def test_a_head_wider_than_any_base_is_refused() -> None:
    assert peak(zeros(8), "bundle.head") < 200_000


def wide(n: int, d: int) -> Bundle:
    """A coded bundle of a head `[n, d]` that is nearly all zeros."""
    codes = np.zeros((n, d), np.int8)
    codes[:, 0] = 1
    layer = IntegerLayer(None, weight=IntegerMatrix(codes, np.ones(n, np.float32)))
    head = StoredHead("labels", "cls", (layer,))
    labels = tuple(map(str, range(n)))
    return Bundle("wide", "1", labels, "a" * 64, 0, "coded", (), head, tool="")


def fewest_bytes(bundle: Bundle) -> bytes:
    """The file of `bundle` with as few bytes of filling as make it one that may be read."""
    for filling in range(0, 1 << 16, 128):
        try:
            return write_bundle(replace(bundle, tool="x" * filling))
        except BundleError as error:
            assert error.code == "bundle.slots"
    raise AssertionError("no filling is enough")


def test_at_the_bound_reading_takes_a_few_bytes_a_slot() -> None:
    n, d = 40, 65_535
    data = fewest_bytes(wide(n, d))
    assert n * d > 0.98 * SLOTS_PER_BYTE * len(data)
    assert peak(data, None) < 3 * n * d


def test_beyond_the_bound_nothing_is_decoded() -> None:
    data = fewest_bytes(wide(40, 65_535))
    cut = read_header(data)[0] | {"info.tool": ""}
    tensor = np.frombuffer(data, np.uint8)[-read_header(data)[1]["osd.coded"]["shape"][0] :]
    assert peak(pack({"osd.coded": tensor}, cut), "bundle.slots") < 200_000


def test_nearly_empty_factors_are_refused_where_they_are_written() -> None:
    factor = PlainFactor.of(np.eye(1, 65_535, dtype=np.float32))
    bundle = Bundle(
        task="wide",
        task_version="1",
        labels=(),
        base="a" * 64,
        site_count=1,
        values="fp32",
        sites=(PlainSite(0, factor, factor),),
        head=StoredHead("embedding", "cls", ()),
    )
    with pytest.raises(BundleError, match="more bytes, or fewer columns") as refused:
        write_bundle(bundle)
    assert refused.value.code == "bundle.slots"
