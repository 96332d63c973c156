"""Invalid cases that are valid but for one rule: a reader that lacks it shows with these."""

import json
import struct
from collections.abc import Iterator, Mapping
from unittest import mock

import numpy as np
from surgery import Draft

from osd_edge.formats.coding.rows import encode_rows

_Broken = Iterator[tuple[str, str, str, str, bytes]]

_NO_BIAS = struct.pack("<h", -32768)
_SCALES = struct.pack("<h", 0)


def single_faults(files: Mapping[str, bytes]) -> _Broken:
    """Id, code, comment, flags and bytes of each."""
    yield from _json(Draft.of(files["dense-fp32"]))
    yield from _layout(Draft.of(files["dense-fp32"]))
    yield from _plain(Draft.of(files["dense-fp32"]), Draft.of(files["scales"]))
    yield from _heads(files)
    yield from _coded(Draft.of(files["coded-tiny"]))
    yield from _vectors(Draft.of(files["vectors-alone"]))
    yield from _probes(Draft.of(files["dense-fp32"]))


def _json(draft: Draft) -> _Broken:
    code = "bundle.key-value"
    for name, comment, labels in (
        ("low-surrogate", "the second half of a pair alone", '["no","\\udc00"]'),
        ("escape-short", "an escape of two digits", '["no","\\u12"]'),
        ("no-comma", "no comma between two", '["no" "yes"]'),
        ("comma-last", "a comma behind the last", '["no","yes",]'),
    ):
        made = draft.with_meta({"osd.labels": labels}).sealed()
        yield f"single-json-{name}", code, comment, "json", made
    made = draft.with_meta({"osd.head": '{"kind" "labels"}'}).sealed()
    yield "single-json-no-colon", code, "no colon behind a key", "json", made
    made = draft.with_meta({"osd.labels": "[1]", "osd.head": "{"}).sealed()
    comment = "labels that are none, and a head that is not JSON: each is parsed in its turn"
    yield "single-labels-first", "bundle.labels", comment, "order", made


def _layout(draft: Draft) -> _Broken:
    made = draft.with_tensor("info.x", "BF16", [1], b"..").sealed()
    comment = "a tensor that may be passed over, of a type that bundles do not have"
    yield "single-entry-info", "bundle.tensor-entry", comment, "", made
    begin, end = draft.parts()[0]["osd.values"]["data_offsets"]
    size = end - begin
    made = draft.with_entry("osd.values", data_offsets=[2**40, 2**40 + size])
    comment = "far beyond the file's end, and so behind a gap: the gap is told"
    yield "single-layout-gap", "bundle.tensor-layout", comment, "order", made


def _plain(draft: Draft, int8: Draft) -> _Broken:
    two = draft.with_numbers("osd.sites", "F32", [1, 4], 0, 6, 8, 2).without_tensor("osd.values")
    comment = "a site table of another type, and no values: the table comes first"
    yield "single-sites-first", "bundle.tensor-type", comment, "order", two.sealed()
    none = draft.with_numbers("osd.sites", "U16", [0, 4]).with_numbers("osd.values", "F32", [0])
    counted = none.with_numbers("osd.counts", "U32", [0, 2])
    made = counted.with_tensor("osd.positions", "U8", [0], b"").sealed()
    yield "single-counts-none", "bundle.counts", "counts of no sites, for nothing", "", made
    wide = draft.with_numbers("osd.counts", "U32", [1, 3], 1, 1, 1)
    made = wide.with_numbers("osd.positions", "U16", [1], 1).sealed()
    comment = "counts of three columns, and positions of another type: types come first"
    yield "single-counts-last", "bundle.tensor-type", comment, "order", made
    empty = int8.with_numbers("osd.sites", "U16", [0, 4]).with_numbers("osd.values", "I8", [0])
    for name in ("osd.scales", "osd.counts", "osd.positions"):
        empty = empty.without_tensor(name)
    comment = "int8 without sites needs its scales, none, all the same"
    yield "single-scales-none", "bundle.tensor-missing", comment, "int8", empty.sealed()


def _heads(files: Mapping[str, bytes]) -> _Broken:
    full, low_rank = (Draft.of(files[name]) for name in ("dense-fp32", "head-low-rank-int8"))
    made = full.with_numbers("osd.head.0.weight", "F32", [8, 2], *[1] * 16).sealed()
    yield "single-head-turned", "bundle.head", "[8, 2] for [2, 8]", "head", made
    made = low_rank.with_numbers("osd.head.0.v", "I8", [3, 4], *[1] * 12).sealed()
    yield "single-head-v", "bundle.head", "v of half as many inputs", "head", made
    embedding = Draft.of(files["kind-embedding"])
    made = embedding.with_head(layers={}).sealed()
    yield "single-head-object", "bundle.head", "an object in the place of no layers", "head", made
    three = {"shape": [3, 8], "rank": 0, "activation": None}
    spans = full.with_head(kind="spans", pooling="none", layers=[three])
    spans = spans.with_meta({"osd.labels": '["start","end"]'}).without_tensor("osd.head.0.bias")
    made = spans.with_numbers("osd.head.0.weight", "F32", [3, 8], *[1] * 24).sealed()
    yield "single-spans-three", "bundle.labels", "spans of three outputs", "head kind", made


def _coded(tiny: Draft) -> _Broken:
    """`tiny` has one site of [6, 5] and rank 1, and a head of [1, 1]."""
    u, v, head = ([[0, 1, 0, 0, -2, 0]], [[3, 0, 0, 0, 1]], [[1]])
    layer = _SCALES + b"\0" + _NO_BIAS

    def made(table: bytes, rows: bytes, *, sites: int = 1) -> bytes:
        data = table + _SCALES + bytes(sites) + layer + rows
        coded = tiny.with_tensor("osd.coded", "U8", [len(data)], data)
        return coded.with_meta({"osd.site_count": str(sites)}).sealed()

    def rows(*blocks: list[list[int]]) -> bytes:
        return encode_rows([np.array(block) for block in blocks])

    one, two = rows(u, v, head), rows(u, v, u, v, head)
    code = "bundle.coded-table"
    yield (
        "single-shape-unused",
        code,
        "a second shape, which no site has",
        "coded",
        made(bytes([1, 2, 6, 5, 5, 6, 0, 0]), one),
    )
    yield (
        "single-shape-twice",
        code,
        "two sites of one shape, which stands twice",
        "coded",
        made(bytes([2, 2, 6, 5, 6, 5, 0, 0, 0, 1]), two, sites=2),
    )
    turned = rows(u, v, v, u, head)
    yield (
        "single-shape-order",
        code,
        "the second shape is used first",
        "coded",
        made(bytes([2, 2, 5, 6, 6, 5, 0, 1, 0, 0]), turned, sites=2),
    )
    both = bytes([1, 2, 5, 6, 6, 5, 0, 2 * 5 + 1])
    comment = "rank 6 for [6, 5], of a shape before its turn: the rank is told"
    yield "single-rank-first", "bundle.site-rank", comment, "coded order", made(both, one)
    for name, shape in (("zero", b"\6\0"), ("large", b"\6\x80\x80\4")):
        table = b"\1\1" + shape + bytes(2)
        yield f"single-inputs-{name}", code, "inputs out of range", "coded", made(table, one)
    bias = tiny.tensors["osd.coded"].data.replace(_NO_BIAS, struct.pack("<h", -1000))
    biased = bias[: -len(one)] + rows(u, v, head, head)
    low = tiny.with_tensor("osd.coded", "U8", [len(biased)], biased).sealed()
    yield "single-bias-low", code, "a bias scale of 2^(-1000/16)", "coded", low
    code = "bundle.coded-stream"
    wide = [[1] * 4200]
    with mock.patch("osd_edge.formats.coding.rows._lanes", return_value=1):
        few = rows(wide, v, head)
    table = b"\1\1\xe8\x20\5" + bytes(2)
    comment = "1,053 groups, right but for their one lane"
    yield "single-lanes-few", code, comment, "coded", made(table, few)
    with mock.patch("osd_edge.formats.coding.rows._lanes", return_value=8192):
        many = rows(u, v, head)
    comment = "8,192 lanes, right but for their number"
    yield "single-lanes-many", code, comment, "coded", made(bytes([1, 1, 6, 5, 0, 0]), many)


def _vectors(draft: Draft) -> _Broken:
    table = b"\2\0\1\0\1" + _SCALES + bytes(2)
    data = table + encode_rows([np.array([[1]]), np.array([[0]])])
    made = draft.with_tensor("osd.vectors", "U8", [len(data)], data).sealed()
    yield "single-vector-zero", "bundle.coded-zero", "a vector of zeros", "vectors", made


def _probes(draft: Draft) -> _Broken:
    case = {"text": "", "logits": [1e39]}
    text = json.dumps({"tolerance": 0, "cases": [case]}).replace("0,", "1e-400,", 1)
    made = draft.with_meta({"osd.probe": text}).sealed()
    comment = "a tolerance that no double tells from 0"
    yield "single-tolerance", "bundle.probe", comment, "probe", made
