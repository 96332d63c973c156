"""The invalid cases: each breaks one rule of a valid file."""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from coded_invalid import broken_coded
from kind_cases import broken_kinds
from optional_parts import broken_optional
from parts import BASE, OTHER_BASE, Delta, bundle_of, head_of, random_delta, random_layer
from single_faults import single_faults
from surgery import Draft, flip, frame, seal

from osd_edge.formats.bundle.writer import write_bundle


def invalid_cases(files: Mapping[str, bytes]) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Id, code, comment, flags and bytes of each; the ids' common stem is what they are about."""
    yield from _broken_framing(files["dense-fp32"])
    yield from _broken_json(Draft.of(files["dense-fp32"]))
    yield from _broken_layout(Draft.of(files["dense-fp32"]))
    yield from _broken_trust(files["dense-fp32"])
    yield from _broken_keys(Draft.of(files["dense-fp32"]))
    yield from _broken_sites(Draft.of(files["dense-fp32"]))
    yield from _broken_streams(
        {name: Draft.of(files[name]) for name in ("dense-fp32", "tiny", "bitmap-fp16", "scales")}
    )
    yield from broken_coded(Draft.of(files["coded-tiny"]), Draft.of(files["coded-widths"]))
    yield from _broken_heads(Draft.of(files["dense-fp32"]), Draft.of(files["head-low-rank-int8"]))
    yield from broken_kinds(files)
    yield from broken_optional(files)
    yield from single_faults(files)
    yield from _broken_fits(files)


_Broken = Iterator[tuple[str, str, str, str, bytes]]


def _broken_framing(data: bytes) -> _Broken:
    size = struct.unpack_from("<Q", data)[0]
    body = data[8:]
    yield "empty-file", "bundle.too-short", "no bytes at all", "", b""
    yield "seven-bytes", "bundle.too-short", "less than a header length", "", data[:7]
    text = b"This is a text file and no bundle.\n"
    yield "text-file", "bundle.header-length", "its first 8 letters are a huge length", "", text
    for name, claimed, comment in (
        ("header-length-2-63", 1 << 63, "negative, for a reader with signed numbers"),
        ("header-length-2-64", (1 << 64) - 1, "adding 8 to it overflows 64 bits"),
        ("header-length-over-file", len(data) - 7, "one byte more than the file has"),
        ("header-length-over-cap", (1 << 20) + 1, "above the cap, and above the file"),
    ):
        made = struct.pack("<Q", claimed) + body
        yield name, "bundle.header-length", comment, "hostile-size", made
    made = data[: 8 + size // 2]
    yield "truncated-header", "bundle.header-length", "ends within the header", "", made
    made = data[: 8 + size]
    yield "truncated-after-header", "bundle.truncated", "ends after the header", "", made
    yield "truncated-data", "bundle.truncated", "ends within the data", "", data[: 8 + size + 50]
    yield "truncated-last-byte", "bundle.truncated", "lacks its last byte", "", data[:-1]
    yield "trailing-byte", "bundle.trailing-bytes", "one byte too many", "", data + b"\0"
    yield "trailing-copy", "bundle.trailing-bytes", "the file twice over", "", data + data
    made = bytes(8) + data[8 + size :]
    yield "header-length-zero", "bundle.header-json", "a header of no bytes", "json", made


def _broken_json(draft: Draft) -> _Broken:
    header, body = draft.parts()
    code = "bundle.header-json"

    def replaced(old: str, new: str) -> bytes:
        assert draft.text().count(old) == 1
        return draft.sealed(lambda text: text.replace(old, new))

    shape = '"osd.sites":{"dtype":"U16","shape":[1,4]'
    for name, comment, made in (
        ("json-cut", "a header without its last brace", draft.sealed(lambda t: t[:-1])),
        ("json-list", "a list around the header", draft.sealed(lambda t: f"[{t}]")),
        ("json-blank-first", "a blank before the brace", draft.sealed(lambda t: " " + t)),
        ("json-byte-order-mark", "a mark before the brace", draft.sealed(lambda t: "\ufeff" + t)),
        ("json-two-values", "two objects", draft.sealed(lambda t: t + "{}")),
        ("json-comment", "a comment", draft.sealed(lambda t: t + "//")),
        ("json-not-utf8", "a byte that UTF-8 has not", frame(b'{"a\xff":{}}', b"")),
        ("json-nan", "NaN where a number is due", replaced(shape, shape.replace("[1", "[NaN"))),
        ("json-control", "a bare newline in a string", replaced('"osd.task":"', '"osd.task":"\n')),
        ("json-half-surrogate", "half a pair", replaced('"yes\\"', '"yes\\ud83d\\"')),
        ("json-deep", "20,000 open brackets", frame(b'{"a":' + b"[" * 20_000, b"")),
        (
            "json-deep-metadata",
            "200 levels of brackets where a string is due",
            draft.with_meta({"info.x": json.loads("[" * 200 + "]" * 200)}).sealed(),
        ),
        (
            "json-key-twice",
            "a metadata key twice",
            replaced('"osd.task":', '"osd.task":"vectors","osd.task":'),
        ),
        (
            "json-tensor-twice",
            "a tensor twice",
            draft.sealed(lambda t: t[:-1] + t[t.index(',"osd.sites"') :]),
        ),
        (
            "json-key-twice-escaped",
            "a metadata key twice, once with an escape",
            replaced('"osd.task":', '"osd.t\\u0061sk":"vectors","osd.task":'),
        ),
        (
            "metadata-number",
            "a value that is not a string",
            draft.with_meta({"info.x": 1}).sealed(),
        ),
        ("metadata-null", "no object", seal(json.dumps(header | {"__metadata__": None}), body)),
        ("metadata-list", "no object", seal(json.dumps(header | {"__metadata__": []}), body)),
    ):
        yield name, code, comment, "json", made


def _broken_layout(draft: Draft) -> _Broken:
    size = len(draft.tensors["osd.values"].data)
    begin, end = draft.parts()[0]["osd.values"]["data_offsets"]
    for name, comment, changed in (
        ("entry-dtype-unknown", "an element type that bundles do not have", {"dtype": "BF16"}),
        ("entry-dtype-number", "an element type that is no string", {"dtype": 32}),
        ("entry-no-offsets", "a field left out", {"data_offsets": None}),
        ("entry-extra", "a field too many", {"stride": 4}),
        ("entry-bool", "true as a shape's number", {"shape": [True, size // 4]}),
        ("entry-fraction", "a number with a fraction", {"shape": [size / 4]}),
        ("entry-string", "a number in quotes", {"shape": [str(size // 4)]}),
        ("entry-shape-negative", "numbers below zero", {"shape": [-1, -size // 4]}),
        ("entry-shape-short", "fewer elements than bytes", {"shape": [size // 4 - 1]}),
        ("entry-five-dimensions", "five dimensions", {"shape": [1, 1, 1, 1, size // 4]}),
        ("entry-offsets-negative", "a begin below zero", {"data_offsets": [-size, 0]}),
        ("entry-offsets-reversed", "end before begin", {"data_offsets": [end, begin]}),
        ("entry-offsets-three", "three offsets", {"data_offsets": [begin, end, end]}),
        ("entry-offsets-huge", "at 2^48", {"data_offsets": [2**48, 2**48 + size]}),
        ("entry-not-object", "an entry that is a list", {}),
    ):
        if name == "entry-not-object":
            header, body = draft.parts()
            made = seal(json.dumps(header | {"osd.values": [begin, end]}), body)
        else:
            made = draft.with_entry("osd.values", **changed)
        yield name, "bundle.tensor-entry", comment, "", made
    code = "bundle.tensor-entry"
    made = draft.sealed(lambda t: t.replace('"data_offsets":[0,', '"data_offsets":[-0,'))
    yield "entry-minus-zero", code, "-0, which not every JSON reader tells from 0", "json", made
    made = draft.with_tensor("info.x", "U8", [2**47, 2**47, 0, 3], b"").sealed()
    yield "entry-shape-overflow", code, "the product overflows but for a zero", "hostile-size", made
    shape: list[Any] = [2**32, 2**32]
    made = draft.with_entry("osd.values", shape=shape, data_offsets=[begin, begin])
    yield "entry-shape-wraps", code, "the product is 0 modulo 2^64", "hostile-size", made
    made = draft.sealed(lambda t: t.replace('"shape":[1,4]', f'"shape":[1,{"4" * 5000}]'))
    yield "entry-digits", code, "a number of 5,000 digits", "hostile-size", made
    code = "bundle.tensor-layout"
    header, body = draft.parts()
    moved = json.loads(json.dumps(header))
    last = max(draft.tensors, key=lambda name: moved[name]["data_offsets"])
    moved[last]["data_offsets"] = [x + 8 for x in moved[last]["data_offsets"]]
    made = seal(json.dumps(moved), body[:-8] + bytes(8) + body[-8:])
    yield "layout-gap", code, "8 bytes that belong to no tensor", "", made
    for name in draft.tensors:
        moved[name]["data_offsets"] = [x + 8 for x in header[name]["data_offsets"]]
    made = seal(json.dumps(moved), bytes(8) + body)
    yield "layout-gap-first", code, "the first tensor does not begin at 0", "", made
    moved = json.loads(json.dumps(header))
    moved[last]["data_offsets"] = [x - 2 for x in moved[last]["data_offsets"]]
    made = seal(json.dumps(moved), body[:-2])
    yield "layout-overlap", code, "two tensors share two bytes", "", made
    made = draft.with_entry("osd.head.0.bias", data_offsets=[begin, begin + 8])
    yield "layout-same-place", code, "two tensors begin at one place", "", made


def _broken_trust(data: bytes) -> _Broken:
    """Not a bundle, another version, or bytes that are not those that were written."""
    draft = Draft.of(data)
    foreign = {"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    code = "bundle.not-a-bundle"
    made = frame(json.dumps(foreign).encode(), bytes(8))
    yield "foreign-safetensors", code, "a safetensors file with no metadata", "", made
    foreign = {"__metadata__": {"format": "pt"}, "weight": foreign["weight"] | {"dtype": "BF16"}}
    made = frame(json.dumps(foreign).encode(), bytes(8))
    yield "foreign-bf16", code, "someone's weights in a type that bundles lack", "order", made
    made = draft.without_meta("osd.format").sealed()
    yield "format-missing", code, "all of a bundle but osd.format", "", made
    code = "bundle.version"
    for name, version in (("two", "2"), ("leading-zero", "01"), ("fraction", "1.0"), ("empty", "")):
        made = draft.with_meta({"osd.format": version}).sealed()
        yield f"version-{name}", code, f"osd.format is {version!r}", "", made
    later = draft.with_meta({"osd.format": "2", "osd.later": ""}).with_tensor(
        "x", "BF16", [1], b".."
    )
    made = flip(later.sealed(), -1)
    comment = "later in all: type, key and digest; told by its version alone"
    yield "version-later", "bundle.version", comment, "order", made
    code = "bundle.digest"
    at = data.index(b'"osd.sha256":"') + 14
    made = draft.without_meta("osd.sha256").sealed()
    yield "digest-missing", code, "no osd.sha256", "", made
    yield "digest-wrong", code, "a digit of the digest is changed", "", flip(data, at + 9)
    yield "digest-data-bit", code, "a bit of the data is flipped", "", flip(data, len(data) - 3, 5)
    made = flip(data, data.index(b"vectors"), 1)
    yield "digest-header-bit", code, "a bit of the task's name is flipped", "", made
    digest = data[at : at + 64]
    made = data[:at] + digest.upper() + data[at + 64 :]
    yield "digest-upper-case", code, "hex digits in upper case", "", made
    yield "digest-short", code, "32 digits", "", frame(_shortened(data, at), draft.parts()[1])
    twice = draft.with_meta({"info.digest": "0" * 64, "osd.sha256": "0" * 64})
    made = twice.sealed(lambda text: text)
    found = made[made.index(b'"osd.sha256":"') + 14 :][:64]
    yield "digest-twice", code, "its digits stand twice", "", made.replace(b"0" * 64, found)
    escaped = draft.sealed()
    first = f"\\u00{digest[:1].hex()}".encode()
    size = struct.unpack_from("<Q", escaped)[0]
    made = frame(escaped[8:at] + first + escaped[at + 1 : 8 + size], escaped[8 + size :])
    yield "digest-escaped", code, "its first digit is written as an escape", "json", made
    made = frame(escaped[8:at] + b"\\ud83d" * 64 + escaped[at + 64 : 8 + size], b"")
    yield "digest-surrogates", "bundle.header-json", "64 halves of pairs", "json", made


def _shortened(data: bytes, at: int) -> bytes:
    size = struct.unpack_from("<Q", data)[0]
    return data[8 : at + 32] + data[at + 64 : 8 + size]


def _broken_keys(draft: Draft) -> _Broken:
    code = "bundle.key-unknown"
    made = draft.with_meta({"osd.later": "x"}).sealed()
    yield "key-unknown", code, "a key of a later release that must be understood", "", made
    made = draft.with_meta({"author": "x"}).sealed()
    yield "key-unprefixed", code, "a key with neither prefix", "", made
    made = draft.with_meta({"Info.x": "x"}).sealed()
    yield "key-prefix-case", code, "prefixes are in lower case", "", made
    made = draft.with_meta({"osd.later": ""}).without_meta("osd.task").sealed()
    yield "key-unknown-first", code, "unknown keys are told before missing ones", "order", made
    for key in ("task", "task_version", "base", "site_count", "labels", "head"):
        made = draft.without_meta(f"osd.{key}").sealed()
        yield f"key-missing-{key}", "bundle.key-missing", f"no osd.{key}", "", made
    for name, key, value in (
        ("task-empty", "task", ""),
        ("task-path", "task", "../vectors"),
        ("task-dot", "task", ".vectors"),
        ("task-newline", "task", "vectors\n"),
        ("task-letters", "task", "vectörs"),
        ("task-long", "task", "z" * 65),
        ("base-upper-case", "base", BASE.upper()),
        ("base-short", "base", BASE[:-1]),
        ("site-count-negative", "site_count", "-1"),
        ("site-count-empty", "site_count", ""),
        ("site-count-blank", "site_count", " 4"),
        ("site-count-large", "site_count", "65536"),
        ("site-count-long", "site_count", "000004"),
        ("site-count-digits", "site_count", "٤"),
        ("labels-not-json", "labels", "no, yes"),
        ("labels-deep", "labels", "[" * 20_000),
        ("labels-half-surrogate", "labels", '["no","\\ud83d"]'),
        ("head-not-json", "head", "{"),
        ("head-nan", "head", '{"kind":NaN}'),
        ("head-key-twice", "head", draft.meta["osd.head"][:-1] + ',"kind":"labels"}'),
    ):
        made = draft.with_meta({f"osd.{key}": value}).sealed()
        yield f"value-{name}", "bundle.key-value", f"osd.{key} is malformed", "", made
    for name, value in (
        ("object", '{"no":0,"yes":1}'),
        ("empty", "[]"),
        ("number", '["no",1]'),
        ("empty-name", '["no",""]'),
        ("twice", '["no","no"]'),
        ("twice-escaped", '["no","n\\u006f"]'),
        ("too-few", '["no"]'),
        ("too-many", '["no","yes","perhaps"]'),
    ):
        made = draft.with_meta({"osd.labels": value}).sealed()
        yield f"labels-{name}", "bundle.labels", f"osd.labels is {value}", "", made


def _broken_sites(draft: Draft) -> _Broken:
    """The file has one site, [6, 8] of rank 2: 12 and 16 values."""

    def table(*rows: tuple[int, int, int, int]) -> Draft:
        numbers = [x for row in rows for x in row]
        return draft.with_numbers("osd.sites", "U16", [len(rows), 4], *numbers)

    def dense(*rows: tuple[int, int, int, int]) -> bytes:
        count = sum(k * (n + d) for _, n, d, k in rows)
        changed = table(*rows).with_numbers("osd.values", "F32", [count], *[1.0] * count)
        return changed.sealed()

    for name in ("osd.sites", "osd.values", "osd.head.0.weight"):
        made = draft.without_tensor(name).sealed()
        yield f"tensor-missing-{name}", "bundle.tensor-missing", f"no {name}", "", made
    made = draft.with_numbers("osd.counts", "U32", [1, 2], 1, 1).sealed()
    yield "tensor-missing-positions", "bundle.tensor-missing", "counts alone", "", made
    made = draft.with_tensor("osd.positions", "U8", [0], b"").sealed()
    yield "tensor-missing-counts", "bundle.tensor-missing", "positions alone", "", made
    code = "bundle.tensor-type"
    made = draft.with_numbers("osd.sites", "U32", [1, 4], 0, 6, 8, 2).sealed()
    yield "type-sites", code, "the site table is U32", "", made
    made = draft.with_numbers("osd.sites", "U16", [4], 0, 6, 8, 2).sealed()
    yield "type-sites-flat", code, "the site table has one dimension", "", made
    made = draft.with_numbers("osd.sites", "U16", [1, 5], 0, 6, 8, 2, 0).sealed()
    yield "type-sites-columns", code, "the site table has five columns", "", made
    made = draft.with_numbers("osd.values", "U8", [28], *[1] * 28).sealed()
    yield "type-values", code, "values are U8", "", made
    made = draft.with_numbers("osd.values", "F32", [28, 1], *[1] * 28).sealed()
    yield "type-values-matrix", code, "values have two dimensions", "", made
    counted = draft.with_tensor("osd.positions", "U8", [2], bytes(2))
    made = counted.with_numbers("osd.counts", "U16", [1, 2], 1, 1).sealed()
    yield "type-counts", code, "counts are U16", "", made
    made = draft.with_numbers("osd.head.0.weight", "U8", [2, 8], *[1] * 16).sealed()
    yield "type-head", code, "a head's matrix is U8", "", made
    made = draft.with_numbers("osd.head.0.bias", "F16", [2], 1, 1).sealed()
    yield "type-head-bias", code, "a head's bias is F16", "", made
    code = "bundle.tensor-unknown"
    made = draft.with_tensor("osd.later", "U8", [1], b"x").sealed()
    yield "tensor-unknown", code, "a tensor that must be understood", "", made
    made = draft.with_tensor("weight", "U8", [0], b"").sealed()
    yield "tensor-unprefixed", code, "an empty tensor with neither prefix", "", made
    made = draft.with_numbers("osd.scales", "F32", [2], 1, 1).sealed()
    yield "tensor-scales-unused", code, "scales for fp32 values", "", made
    made = draft.with_numbers("osd.head.1.bias", "F32", [2], 1, 1).sealed()
    yield "tensor-head-unused", code, "a bias for a layer that is not there", "", made
    code = "bundle.site-order"
    two = ((1, 1, 1, 1), (0, 1, 1, 1))
    yield "site-order-falling", code, "site 0 after site 1", "", dense(*two)
    yield "site-order-twice", code, "site 1 twice", "", dense(two[0], two[0])
    yield "site-order-beyond", code, "site 4 of 4", "", dense((4, 1, 1, 1))
    made = dense(*[(i, 1, 1, 1) for i in range(5)])
    yield "site-order-many", code, "more rows than sites", "", made
    code = "bundle.site-rank"
    yield "site-rank-zero", code, "rank 0", "", dense((0, 6, 8, 0))
    yield "site-rank-large", code, "rank 7 for [6, 8]", "", dense((0, 6, 8, 7))
    yield "site-rank-no-outputs", code, "n is 0", "", dense((0, 0, 8, 1))
    yield "site-rank-no-inputs", code, "d is 0", "", dense((0, 6, 0, 0))
    code = "bundle.stream-length"
    made = draft.with_numbers("osd.values", "F32", [27], *[1] * 27).sealed()
    yield "length-values-few", code, "27 values for 28 slots", "", made
    made = draft.with_numbers("osd.values", "F32", [29], *[1] * 29).sealed()
    yield "length-values-many", code, "29 values for 28 slots", "", made
    made = table((0, 65535, 65535, 65535)).sealed()
    yield "length-huge", code, "8,589,672,450 slots, 28 values", "hostile-size", made


def _broken_streams(drafts: Mapping[str, Draft]) -> _Broken:
    """In `tiny` U is 64 slots, one index of 6 bits; V is 4 slots, a bitmap with bit 2."""
    dense, tiny, bitmap, int8 = (
        drafts[name] for name in ("dense-fp32", "tiny", "bitmap-fp16", "scales")
    )
    planes = tiny.tensors["osd.positions"].data
    one, four = b"\x01", b"\x04"
    assert planes == b"\x01\x00\x01\x00\x00\x01" + four

    def coded(draft: Draft, data: bytes) -> bytes:
        return draft.with_tensor("osd.positions", "U8", [len(data)], data).sealed()

    def counted(draft: Draft, *counts: int) -> bytes:
        return draft.with_numbers("osd.counts", "U32", [len(counts) // 2, 2], *counts).sealed()

    def valued(draft: Draft, dtype: str, *values: float) -> bytes:
        return draft.with_numbers("osd.values", dtype, [len(values)], *values).sealed()

    code = "bundle.counts"
    yield "counts-over-slots", code, "65 non-zeros in 64 slots", "", counted(tiny, 65, 1)
    yield "counts-rows", code, "counts of two sites for one", "", counted(tiny, 1, 1, 1, 1)
    made = tiny.with_numbers("osd.counts", "U32", [2, 1], 1, 1).sealed()
    yield "counts-columns", code, "a count in each row", "", made
    empty = dense.with_tensor("osd.positions", "U8", [0], b"")
    made = counted(empty, 12, 16)
    yield "counts-all-dense", code, "counts though nothing is left out", "", made
    code = "bundle.stream-length"
    yield "length-positions-few", code, "a byte too few", "", coded(tiny, planes[:-1])
    yield "length-positions-many", code, "a byte too many", "", coded(tiny, planes + b"\0")
    made = counted(tiny, 2, 0)
    yield "length-positions-moved", code, "counts that need other bytes", "", made
    huge = tiny.with_numbers("osd.sites", "U16", [1, 4], 0, 65535, 65535, 65535)
    made = counted(huge, 65535 * 65535 - 1, 4)
    yield "length-counts-huge", code, "4,294,836,224 non-zeros", "hostile-size", made
    made = int8.with_numbers("osd.scales", "F32", [6], *[1] * 6).sealed()
    yield "length-scales", code, "6 scales for 7 columns", "", made
    made = int8.without_tensor("osd.scales").sealed()
    yield "tensor-missing-scales", "bundle.tensor-missing", "int8 without scales", "int8", made
    code = "bundle.positions"
    for name, comment, data in (
        ("index-padding", "a bit beyond the last index", b"\x03" + planes[1:]),
        ("bitmap-padding", "a bit beyond the last slot", planes[:-1] + b"\x10"),
        ("bitmap-few", "fewer bits than the count", planes[:-1] + b"\0"),
        ("bitmap-many", "more bits than the count", planes[:-1] + b"\x06"),
    ):
        yield f"positions-{name}", code, comment, "", coded(tiny, data)
    wide = tiny.with_numbers("osd.sites", "U16", [1, 4], 0, 60, 4, 1)
    made = coded(wide, one * 6 + four)
    yield "positions-index-range", code, "index 63 in 60 slots", "indices", made
    two = tiny.with_numbers("osd.counts", "U32", [1, 2], 2, 1)
    two = two.with_numbers("osd.values", "F16", [3], 1, 2, 3)
    made = coded(two, b"\x01\0\x01\0\0\x01" + four)
    yield "positions-index-falling", code, "index 37, then 0", "indices", made
    made = coded(two, b"\x03\0\x03\0\0\x03" + four)
    yield "positions-index-twice", code, "index 37 twice", "indices", made
    code = "bundle.value-zero"
    yield "value-zero", code, "0 as a non-zero value", "fp16", valued(tiny, "F16", 0, 1)
    yield "value-minus-zero", code, "-0 as a non-zero value", "fp16", valued(tiny, "F16", 1, -0.0)
    ones = [1] * (len(int8.tensors["osd.values"].data) - 1)
    yield "value-zero-int8", code, "0 in int8", "int8", valued(int8, "I8", *ones, 0)
    made = valued(dense, "F32", *[1.0] * 27, 0)
    yield "value-zero-dense", code, "0 in a factor that has no zeros", "dense fp32", made
    code = "bundle.not-finite"
    made = valued(dense, "F32", *[1.0] * 27, math.nan)
    yield "not-finite-fp32", code, "NaN in fp32", "fp32", made
    made = valued(tiny, "F16", -math.inf, 1)
    yield "not-finite-fp16", code, "-infinity in fp16", "fp16", made
    made = int8.with_numbers("osd.scales", "F32", [7], *[1] * 6, math.inf).sealed()
    yield "not-finite-scale", code, "an infinite scale", "int8", made
    for name, scale in (("product", 3e38), ("over", -(2.0**64 + 2.0**41))):
        made = int8.with_numbers("osd.scales", "F32", [7], *[1] * 6, scale).sealed()
        yield f"not-finite-scale-{name}", code, "a scale beyond 2^64", "int8", made
    made = bitmap.with_numbers("osd.head.0.bias", "F32", [2], math.nan, 0).sealed()
    yield "not-finite-bias", code, "NaN in a head's bias", "head", made
    made = bitmap.with_numbers("osd.head.0.weight", "F16", [2, 8], *[math.inf] * 16).sealed()
    yield "not-finite-head", code, "infinity in a head's matrix", "head", made


def _broken_heads(full: Draft, low_rank: Draft) -> _Broken:
    """The first is [2, 8] in fp32; the second [7, 8] and [2, 7] in int8 of ranks 3 and 2."""
    (layer,) = json.loads(full.meta["osd.head"])["layers"]
    first, second = json.loads(low_rank.meta["osd.head"])["layers"]
    code = "bundle.head"
    for name, comment, draft in (
        ("list", "a list", full.with_meta({"osd.head": "[]"})),
        ("field-extra", "a field too many", full.with_head(dropout=0.1)),
        ("field-missing", "a field left out", full.with_meta({"osd.head": '{"kind":"labels"}'})),
        ("kind-list", "a kind that is no string", full.with_head(kind=["labels"])),
        ("pooling-null", "a pooling that is no string", full.with_head(pooling=None)),
        ("no-layers", "no layers", full.with_head(layers=[])),
        ("many-layers", "17 layers", full.with_head(layers=[layer] * 17)),
        ("layers-object", "layers in an object", full.with_head(layers={"0": layer})),
        ("layer-number", "a layer that is no object", full.with_head(layers=[1])),
        ("layer-extra", "a field too many in a layer", full.with_layer(dropout=0)),
        ("activation-number", "an activation that is no string", full.with_layer(activation=0)),
        ("shape-wrong", "a shape that the matrix has not", full.with_layer(shape=[8, 2])),
        ("shape-short", "a shape of one number", full.with_layer(shape=[16])),
        ("shape-fraction", "a number with a fraction", full.with_layer(shape=[2.0, 8])),
        ("rank-bool", "false as a rank", full.with_layer(rank=False)),
        ("rank-negative", "a rank below 0", full.with_layer(rank=-1)),
        ("bias-size", "a bias of three", full.with_numbers("osd.head.0.bias", "F32", [3], 1, 2, 3)),
        (
            "shape-bool",
            "true as a shape's number",
            full.with_layer(shape=[True, 8])
            .with_numbers("osd.head.0.weight", "F32", [1, 8], *[1] * 8)
            .with_numbers("osd.head.0.bias", "F32", [1], 1)
            .with_meta({"osd.labels": '["yes"]'}),
        ),
        (
            "shape-empty",
            "a layer with no inputs",
            full.with_layer(shape=[2, 0]).with_numbers("osd.head.0.weight", "F32", [2, 0]),
        ),
        (
            "layers-unfit",
            "a layer that takes 7 inputs after one that gives 2",
            low_rank.with_head(layers=[second, second])
            .with_numbers("osd.head.0.u", "I8", [2, 2], *[1] * 4)
            .with_numbers("osd.head.0.v", "I8", [2, 7], *[1] * 14)
            .with_numbers("osd.head.0.scale", "F32", [2], 1, 1)
            .with_numbers("osd.head.0.bias", "F32", [2], 1, 1),
        ),
        (
            "rank-wrong",
            "rank 2 for factors of rank 3",
            low_rank.with_head(layers=[first | {"rank": 2}, second]),
        ),
        (
            "ranks-differ",
            "u of rank 2, v of rank 3",
            low_rank.with_numbers("osd.head.0.u", "I8", [2, 7], *[1] * 14).with_numbers(
                "osd.head.0.scale", "F32", [2], 1, 1
            ),
        ),
        (
            "types-differ",
            "u in int8, v in fp32",
            low_rank.with_numbers("osd.head.0.v", "F32", [3, 8], *[1] * 24),
        ),
        (
            "scale-size",
            "2 scales for 3 columns",
            low_rank.with_numbers("osd.head.0.scale", "F32", [2], 1, 1),
        ),
    ):
        yield f"head-{name}", code, comment, "head", draft.sealed()
    for name, comment, changed in (
        ("outputs-large", "65,536 outputs", {"shape": [65536, 8]}),
        ("inputs-large", "65,536 inputs", {"shape": [2, 65536]}),
        ("rank-large", "rank 65,536", {"rank": 65536}),
    ):
        yield (
            f"head-{name}",
            code,
            comment,
            "head hostile-size",
            full.with_layer(**changed).sealed(),
        )
    made = full.with_head(kind=1, later=2).sealed()
    yield "head-kind-number", code, "a kind that is no text", "head", made
    made = low_rank.with_numbers("osd.head.0.scale", "F32", [3], 1, 1, 3e38).sealed()
    comment = "a head's scale beyond 2^64"
    yield "not-finite-head-scale", "bundle.not-finite", comment, "head int8", made
    code = "bundle.head-kind"
    made = full.with_head(kind="ranking").sealed()
    yield "head-kind-unknown", code, "a kind of a later release", "head", made
    made = full.with_head(kind="ranking", layers=None, later=1).sealed()
    comment = "a kind of a later release, whose fields are other ones"
    yield "head-kind-fields", code, comment, "head order", made
    made = full.with_head(pooling="max").sealed()
    yield "head-pooling-unknown", code, "a pooling of a later release", "head", made
    made = full.with_layer(activation="silu").sealed()
    yield "head-activation-unknown", code, "an activation of a later release", "head", made
    made = low_rank.without_tensor("osd.head.0.scale").sealed()
    yield "tensor-missing-head-scale", "bundle.tensor-missing", "int8 without scales", "head", made
    made = full.with_layer(rank=1).sealed()
    yield "tensor-missing-head-u", "bundle.tensor-missing", "rank 1 without factors", "head", made


def _broken_fits(files: Mapping[str, bytes]) -> _Broken:
    """Refused only against the base of the vectors, whose fourth site has no branch."""
    flags = "against-base"

    def made(*deltas: Delta, **fields: Any) -> bytes:
        return write_bundle(bundle_of(*deltas, **({"base": BASE} | fields)))

    delta = random_delta(0, 6, 8, 1, (6, 8))
    data = made(delta, base=OTHER_BASE)
    yield "base-other", "bundle.base", "made for another base", flags, data
    data = made(delta, base=OTHER_BASE, site_count=9)
    yield "base-first", "bundle.base", "the fingerprint is compared first", f"{flags} order", data
    code = "bundle.site-mismatch"
    yield "sites-count", code, "made for a base of five sites", flags, made(delta, site_count=5)
    data = made(random_delta(1, 8, 6, 1, (8, 6)))
    yield "sites-shape", code, "[8, 6] where the base has [8, 8]", flags, data
    draft = Draft.of(files["slots-most"]).with_meta({"osd.base": BASE})
    comment = "as many slots as it may have: refused for its shape before anything is decoded"
    yield "sites-huge", code, comment, f"{flags} hostile-size", draft.sealed()
    data = made(random_delta(3, 8, 6, 1, (8, 6)))
    yield "sites-branch", "bundle.site-branch", "a site without a branch", flags, data
    code = "bundle.head-base"
    data = made(delta, head=head_of(random_layer(2, 9)))
    yield "head-base-width", code, "a head of 9 features, the base gives 8", flags, data
    data = made(delta, head=head_of(pooling="pooler"))
    yield "head-base-pooler", code, "a base without a pooler", flags, data
    data = Draft.of(files["generate-probe"]).with_meta({"osd.base": BASE}).sealed()
    yield "head-base-logits", code, "text from a base that gives no logits", f"{flags} kind", data
    data = Draft.of(files["vectors-alone"]).with_meta({"osd.base": BASE}).sealed()
    comment = "biases and norms, which this base does not take"
    yield "vectors-base", "bundle.vector-base", comment, f"{flags} vectors", data
