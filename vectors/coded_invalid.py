"""The invalid cases of `osd.coded`: a table, a scale or a stream that breaks one rule."""

import struct
from collections.abc import Iterator

import numpy as np
from surgery import Draft

from osd_edge.formats.coding.rows import encode_rows

_NO_BIAS = struct.pack("<h", -32768)
_TOP = struct.pack("<h", 0)
_SCALE = _TOP + b"\0"
_HEAD = _SCALE + _NO_BIAS


def _rows(*rows: list[int]) -> bytes:
    return encode_rows([np.array([row]) for row in rows])


def broken_coded(tiny: Draft, widths: Draft) -> Iterator[tuple[str, str, str, str, bytes]]:
    """`tiny` has one site of [6, 5] and rank 1, and a head of [1, 1]."""
    u, v, head = [0, 1, 0, 0, -2, 0], [3, 0, 0, 0, 1], [1]
    sites = bytes([1, 1, 6, 5, 0, 0])
    rows = _rows(u, v, head)
    whole = sites + _SCALE + _HEAD + rows
    assert whole == tiny.tensors["osd.coded"].data

    def made(data: bytes) -> bytes:
        return tiny.with_tensor("osd.coded", "U8", [len(data)], data).sealed()

    code = "bundle.coded-table"
    for name, comment, data in (
        ("empty", "no bytes", b""),
        ("cut", "ends within the scales", whole[:7]),
        ("cut-head", "ends before the head's scales", whole[:9]),
        ("number-long", "a number in more bytes than it needs", b"\x81\0" + whole[1:]),
        ("number-endless", "a number of five bytes", b"\xff" * 4 + b"\x01" + whole[1:]),
        ("no-shapes", "a site, but no shapes", bytes([1, 0]) + whole[2:]),
        ("shape-zero", "a shape of no outputs", bytes([1, 1, 0, 5]) + whole[4:]),
        ("shape-large", "65,536 outputs", b"\1\1\x80\x80\4\5" + whole[4:]),
        ("shape-twice", "a shape twice", bytes([1, 2, 6, 5, 6, 5]) + whole[4:]),
        ("shape-unused", "a shape of no site", bytes([1, 2, 6, 5, 5, 6]) + whole[4:]),
        ("shape-order", "the second shape before the first", bytes([1, 2, 5, 6, 6, 5, 0, 1])),
        ("scale-high", "a scale above 2^64", sites + struct.pack("<h", 1025) + whole[8:]),
        ("scale-low", "a scale that may go below 2^-64", sites + b"\xfe\xfc" + whole[8:]),
        ("scale-largest", "all scales below the largest", sites + _TOP + b"\1" + whole[9:]),
        ("scale-bias", "a bias scale off the grid", whole[:12] + b"\1\x80" + rows),
    ):
        yield f"coded-table-{name}", code, comment, "coded", made(data)
    code = "bundle.site-order"
    yield "coded-sites-many", code, "two sites of one", "coded", made(b"\2" + whole[1:])
    yield "coded-sites-beyond", code, "site 1 of 1", "coded", made(whole[:4] + b"\1" + whole[5:])
    code = "bundle.site-rank"
    yield (
        "coded-rank-large",
        code,
        "rank 6 for [6, 5]",
        "coded",
        made(whole[:5] + b"\5" + whole[6:]),
    )
    cut = bytes([1, 1, 6, 5, 9])
    comment = "site 9 of 1, and no rank: each number is checked as it is read"
    yield "coded-sites-cut", "bundle.site-order", comment, "coded order", made(cut)
    code = "bundle.coded-size"
    many = b"\1\1\x40\x40\0\x3f" + _TOP + bytes(64) + _HEAD + rows
    yield "coded-size-rows", code, "129 rows, and fewer bytes", "coded", made(many)
    code = "bundle.coded-stream"
    table, lanes = sites + _SCALE + _HEAD, rows[3:4]
    classes, states, words = rows[:3], rows[4:8], rows[8:]
    assert lanes == b"\0" and len(words) == 2
    filled = sites + _SCALE + _HEAD + _rows([0, 1, 0, 0, -2, 0, 1], v, head)
    long = bytes([1, 1, 6]) + b"\x9d\x20" + bytes(2) + _SCALE + _HEAD
    for name, comment, data in (
        ("lanes-few", "1,035 groups in one lane", long + classes + lanes + states + words * 9),
        ("lanes", "8,192 lanes", table + classes + b"\x0d" + states + words),
        ("states-cut", "ends within the states", table + classes + lanes + states[:-1]),
        ("state-low", "a state below 2^16", table + classes + lanes + b"\xff\xff\0\0" + words),
        ("words-cut", "ends before its last word", whole[:-2]),
        ("word-half", "half a word", whole[:-1]),
        ("trailing", "a byte too many", whole + b"\0"),
        ("filled", "a non-zero in the slots that fill up a row", filled),
        ("classes", "other classes, so another stream", table + b"\xf7\xf7\xf7" + rows[3:]),
    ):
        yield f"coded-stream-{name}", code, comment, "coded", made(data)
    # All signs are set, so a last byte other than 0xff has bits to spare.
    signs = {n: _rows([-1] * 6, [-1] * 5, [-1] * n) for n in range(31, 39)}
    spare = next(n for n, data in signs.items() if data[-1] not in (0, 255))
    wide = table + signs[spare][:-1] + bytes([signs[spare][-1] | 128])
    draft = tiny.with_head(layers=[{"shape": [1, spare], "rank": 0, "activation": None}])
    yield (
        "coded-stream-padding",
        code,
        "a bit beyond the last sign",
        "coded",
        draft.with_tensor("osd.coded", "U8", [len(wide)], wide).sealed(),
    )
    code = "bundle.coded-zero"
    for name, comment, data in (
        ("u", "a column of U without a non-zero", _rows([0] * 6, v, head)),
        ("v", "a column of V without a non-zero", _rows(u, [0] * 5, head)),
    ):
        yield f"coded-zero-{name}", code, comment, "coded", made(table + data)
    code = "bundle.tensor-type"
    data = bytes(widths.tensors["osd.coded"].data)
    made_wrong = widths.with_tensor("osd.coded", "I8", [len(data)], data).sealed()
    yield "coded-type", code, "osd.coded is I8", "coded", made_wrong
    code = "bundle.tensor-unknown"
    sited = widths.with_numbers("osd.sites", "U16", [0, 4]).sealed()
    yield "coded-and-sites", code, "osd.sites beside osd.coded", "coded", sited
    weighted = widths.with_numbers("osd.head.0.weight", "F32", [2, 8], *[1] * 16).sealed()
    yield "coded-and-weight", code, "a head's matrix beside osd.coded", "coded", weighted
    code = "bundle.labels"
    labelled = widths.with_meta({"osd.labels": '["only"]'}).sealed()
    yield "coded-labels", code, "one label for two outputs", "coded", labelled
    both = tiny.with_tensor("osd.coded", "U8", [4], b"\1\1\0\5")
    made_both = both.with_meta({"osd.labels": "[]"}).sealed()
    comment = "a broken table, and labels that are none: the table comes first"
    yield "coded-table-first", "bundle.coded-table", comment, "coded order", made_both
    late = tiny.with_tensor("osd.coded", "U8", [len(whole) - 2], whole[:-2])
    made_late = late.with_head(pooling="max").sealed()
    comment = "a stream cut short, and an unknown pooling: the head comes first"
    yield "coded-stream-last", "bundle.head-kind", comment, "coded order", made_late
