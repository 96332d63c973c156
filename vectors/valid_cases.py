"""The valid cases: everything a reader must accept, at least once."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from kind_cases import kinds
from optional_parts import BLANK_SIGNATURE, optional_cases, signed
from parts import (
    BASE,
    Delta,
    bundle_of,
    grid_scales,
    head_of,
    integer_delta,
    integer_layer,
    integers,
    random_delta,
    random_layer,
)
from surgery import Draft, seal

from osd_edge.formats.bundle.integers import IntegerLayer, IntegerMatrix
from osd_edge.formats.bundle.model import Bundle, StoredHead
from osd_edge.formats.bundle.plain import Matrix, PlainLayer
from osd_edge.formats.bundle.writer import write_bundle


@dataclass(frozen=True)
class ValidCase:
    """A file, and the arrays it was made of; `rewrite` changes what the writer wrote."""

    id: str
    comment: str
    flags: str
    deltas: tuple[Delta, ...]
    bundle: Bundle
    rewrite: Callable[["Draft"], bytes] | None


def _valid(
    case: str,
    comment: str,
    flags: str,
    *deltas: Delta,
    rewrite: Callable[["Draft"], bytes] | None = None,
    **fields: Any,
) -> ValidCase:
    return ValidCase(case, comment, flags, deltas, bundle_of(*deltas, **fields), rewrite)


def valid_cases() -> Iterator[ValidCase]:
    """Every valid case; `index.json` keeps their order."""
    one = np.ones((1, 1), np.float32)
    tiny = StoredHead("labels", "cls", (PlainLayer(None, None, weight=Matrix(one)),))
    yield _valid(
        "head-only",
        "no sites at all, of a base with none; one label, no bias",
        "head fp32",
        site_count=0,
        head=tiny,
        labels=("only",),
    )
    yield _valid(
        "tiny",
        "one element in U (indices) and one in V (bitmap): the file of the hex dump",
        "bitmap indices fp16",
        Delta(
            0,
            np.eye(1, 64, 37, dtype="<f2") * np.float16(1.5),
            np.eye(1, 4, 2, dtype="<f2"),
        ),
        values="fp16",
        site_count=1,
        base=BASE,
        head=tiny,
        labels=("only",),
    )
    yield _valid(
        "one-by-one",
        "a layer of one input and one output",
        "dense fp32",
        random_delta(2, 1, 1, 1, (1, 1)),
    )
    yield _valid(
        "dense-fp32",
        "factors without zeros: neither osd.counts nor osd.positions",
        "dense fits-base fp32",
        random_delta(0, 6, 8, 2, (12, 16)),
        base=BASE,
    )
    yield _valid(
        "bitmap-fp16",
        "two sites, both factors as bitmaps",
        "bitmap fits-base fp16",
        random_delta(0, 6, 8, 3, (9, 11), "fp16"),
        random_delta(2, 5, 7, 2, (4, 8), "fp16"),
        base=BASE,
        values="fp16",
    )
    yield _valid(
        "indices-fp32",
        "both factors as indices, more than eight of them: planes of two bytes",
        "fp32 indices",
        random_delta(1, 300, 200, 2, (9, 10)),
    )
    mixed = (
        random_delta(0, 40, 30, 2, (80, 21), "int8"),
        random_delta(1, 100, 30, 3, (5, 90), "int8"),
        random_delta(3, 50, 60, 1, (33, 2), "int8"),
    )
    yield _valid(
        "mixed-int8",
        "dense, bitmap and indices in one bundle",
        "bitmap dense indices int8",
        *mixed,
        values="int8",
    )
    yield _valid(
        "mixed-fp16",
        "dense and bitmap in one bundle, for two of the base's sites",
        "bitmap dense fits-base fp16",
        random_delta(1, 8, 8, 4, (32, 7), "fp16"),
        random_delta(2, 5, 7, 1, (5, 1), "fp16"),
        base=BASE,
        values="fp16",
    )
    yield _valid(
        "rank-full",
        "k = min(n, d), the most a site may have",
        "dense fp32",
        random_delta(0, 5, 9, 5, (25, 45)),
    )
    yield _valid(
        "odd-sizes",
        "slots and counts that are no multiples of 8",
        "bitmap fp16 indices",
        random_delta(0, 13, 11, 3, (10, 33), "fp16"),
        random_delta(1, 7, 331, 3, (20, 17), "fp16"),
        values="fp16",
    )
    yield _valid(
        "coding-boundary",
        "48 slots: 6 bytes either way, a bitmap; 49 and 64: indices up to 8, then a bitmap",
        "bitmap fp32 indices",
        random_delta(0, 48, 49, 1, (8, 8)),
        random_delta(1, 64, 64, 1, (8, 9)),
    )
    yield _valid(
        "index-bits",
        "256 slots take 8 index bits, 257 take 9",
        "fp32 indices",
        random_delta(0, 256, 257, 1, (3, 3)),
    )
    yield _valid(
        "empty-factor",
        "no non-zero at all: no bytes and no values, even for a single slot",
        "fp32",
        random_delta(0, 1, 9, 1, (0, 9)),
        random_delta(1, 9, 1, 1, (0, 0)),
        random_delta(2, 300, 2, 1, (0, 1)),
    )
    yield _valid(
        "subnormal-fp16",
        "the smallest and the largest fp16, and others below its normal range",
        "dense fp16",
        Delta(
            0,
            np.array([[2**-24, -(2**-24), 1023 * 2**-24, 2**-14, 65504]], "<f2"),
            np.array([[-65504, 3 * 2**-24, 0.1, -1 / 3]], "<f2"),
        ),
        values="fp16",
    )
    yield _valid(
        "subnormal-fp32",
        "the smallest and the largest fp32, kept bit for bit",
        "dense fp32",
        Delta(
            0,
            np.array([[2**-149, -(2**-126), 3.4028235e38]], "<f4"),
            np.array([[-3.4028235e38, 5 * 2**-149, 0.1]], "<f4"),
        ),
    )
    yield _valid(
        "scales",
        "scales below zero, zero and subnormal, and products that must be rounded once; -128",
        "dense int8",
        Delta(
            0,
            np.array([[-128, 127, 3, 9], [7, -7, 1, 1], [99, -1, 5, 2], [1, 2, 3, 4]], "i1"),
            np.array([[1, -128, 5, 4], [1, 2, 3, 4], [9, 8, 7, 6], [-1, -2, -3, -4]], "i1"),
            np.array([-0.1, 0, 2**-149, 1e-40], "<f4"),
        ),
        random_delta(2, 6, 3, 3, (18, 4), "int8"),
        values="int8",
    )
    yield _valid(
        "wide-sparse",
        "the largest shape and site, 16 index bits, few values",
        "fp16 hostile-size indices",
        random_delta(65534, 65535, 65535, 1, (9, 17), "fp16"),
        values="fp16",
        site_count=65535,
    )
    yield _valid(
        "unicode-labels",
        "labels and a task version beyond ASCII, with quotes, backslash, newline and zero",
        "json",
        labels=("über", "失望", "🙂", '"\\', "a\nb", "\0"),
        task_version="β2 \u2028 \ufeff",
        head=head_of(random_layer(6, 8)),
    )
    yield _valid(
        "task-name-longest",
        "a task name of 64 characters",
        "fp32",
        task="A0._-" + "z" * 59,
        task_version="",
    )
    yield _valid(
        "zero-fingerprint",
        "64 zeros stand in the header before the digest is known",
        "fp32",
        base="0" * 64,
    )
    yield _valid(
        "head-two-layers-tanh",
        "pooling cls; two full layers in fp32, tanh between",
        "fits-base fp32 head logits",
        head=head_of(random_layer(5, 8, "tanh"), random_layer(2, 5)),
        base=BASE,
    )
    yield _valid(
        "head-low-rank-fp16",
        "pooling mean; low-rank layers in fp16, gelu between",
        "fits-base fp16 head logits",
        head=head_of(
            random_layer(6, 8, "gelu", rank=2, values="fp16"),
            random_layer(2, 6, rank=1, values="fp16"),
            pooling="mean",
        ),
        base=BASE,
    )
    yield _valid(
        "head-low-rank-int8",
        "pooling last; low-rank layers in int8, relu between; scales go with u only",
        "fits-base head int8 logits",
        random_delta(1, 8, 8, 1, (3, 8), "int8"),
        values="int8",
        head=head_of(
            random_layer(7, 8, "relu", rank=3, values="int8"),
            random_layer(2, 7, rank=2, values="int8"),
            pooling="last",
        ),
        base=BASE,
    )
    yield _valid(
        "head-pooler-int8",
        "pooling pooler; full layers in int8 with a scale for each row; an activation at the end",
        "head int8 logits",
        head=head_of(
            random_layer(3, 4, "gelu", values="int8"),
            random_layer(2, 3, "tanh", values="int8"),
            pooling="pooler",
        ),
        base=BASE,
    )
    yield _valid(
        "head-mixed-types",
        "each layer of a head may have its own value type, and a rank above min(n, d)",
        "fp32 head int8 logits",
        head=head_of(
            random_layer(3, 4, "relu", values="fp16"),
            random_layer(5, 3, "tanh", rank=4),
            replace(random_layer(2, 5, values="int8"), bias=None),
        ),
    )
    yield from _coded_cases()
    for case, comment, flags, deltas, fields in kinds():
        yield _valid(case, comment, flags, *deltas, **fields)
    for case, comment, flags, deltas, fields in optional_cases():
        yield _valid(case, comment, flags, *deltas, **fields)
    yield _valid(
        "signed",
        "a signature by the key that the index names",
        "signature",
        random_delta(0, 6, 8, 1, (6, 8)),
        rewrite=signed,
        signature=BLANK_SIGNATURE,
    )
    yield _valid(
        "slots-most",
        "as many slots as a file of this size may have",
        "fp16 hostile-size indices",
        _filling_delta(head=tiny, labels=("only",)),
        values="fp16",
        head=tiny,
        labels=("only",),
    )
    yield _valid(
        "head-16-layers",
        "as many layers as a head may have",
        "fp32 head logits",
        head=head_of(*[random_layer(2, 2, "tanh")] * 16),
    )
    yield _valid(
        "info-people",
        "method and scores, which are for people",
        "json",
        method={"name": "osd", "r": 1, "c": 4},
        scores={"fine-tuned": 0.93, "bundle": 0.925, "rows": -1},
    )
    yield _valid(
        "info-unknown",
        "an unknown info. key and an unknown info. tensor are passed over",
        "json",
        random_delta(0, 6, 8, 1, (6, 8)),
        rewrite=lambda draft: (
            draft.with_meta({"info.later": "x"})
            .with_tensor("info.later", "F32", [1, 2], struct.pack("<2f", math.nan, 1))
            .sealed()
        ),
    )
    yield _valid(
        "info-malformed",
        "info. values that are not JSON are as good as absent",
        "json",
        rewrite=lambda draft: draft.with_meta(
            {"info.method": "{", "info.scores": "[1]", "info.tool": ""}
        ).sealed(),
    )
    yield _valid(
        "info-absent",
        "no info. key at all",
        "json",
        rewrite=lambda draft: draft.without_meta("info.tool").sealed(),
    )
    yield _valid(
        "other-writer",
        "blanks and escapes in the JSON, keys and tensors in another order, nothing aligned",
        "int8 json other-writer",
        *mixed,
        values="int8",
        rewrite=_as_another_writer,
    )


def _filling_delta(**fields: Any) -> Delta:
    """Two non-zeros in as many slots as their file may have."""

    def delta(inputs: int) -> Delta:
        return Delta(0, np.eye(1, 65_535, dtype="<f2"), np.eye(1, inputs, dtype="<f2"))

    size = len(write_bundle(bundle_of(delta(33_000), values="fp16", **fields)))
    inputs = 128 * size - 1 - 65_535  # the head has one slot
    assert 32_768 < inputs <= 65_535, "an index takes 16 bits, as with the guess"
    return delta(inputs)


def _coded_cases() -> Iterator[ValidCase]:
    head = head_of(integer_layer(2, 8))

    def coded(case: str, comment: str, flags: str, *deltas: Delta, **fields: Any) -> ValidCase:
        given: dict[str, Any] = {"values": "coded", "head": head} | fields
        return _valid(case, comment, f"coded {flags}".strip(), *deltas, **given)

    one = np.ones((1, 1), np.int32)
    tiny = IntegerLayer(None, weight=IntegerMatrix(one, np.ones(1, np.float32)))
    yield coded(
        "coded-tiny",
        "one site of [6, 5] and rank 1, scales of 1, one lane: the worked example",
        "",
        Delta(
            0,
            np.array([[0, 1, 0, 0, -2, 0]], np.int32),
            np.array([[3, 0, 0, 0, 1]], np.int32),
            np.ones(1, np.float32),
        ),
        site_count=1,
        head=StoredHead("labels", "cls", (tiny,)),
        labels=("only",),
    )
    yield coded(
        "coded-head-only",
        "no sites, a full head layer with a bias",
        "head logits",
        head=head_of(integer_layer(3, 8)),
        labels=("a", "b", "c"),
    )
    yield coded(
        "coded-head-low-rank",
        "two low-rank head layers, the last without bias, one of a rank above min(n, d)",
        "fits-base head logits",
        integer_delta(1, (8, 8), 2),
        head=head_of(
            integer_layer(6, 8, "tanh", rank=2),
            integer_layer(2, 6, rank=3, bias=False),
            pooling="mean",
        ),
        base=BASE,
    )
    yield coded(
        "coded-widths",
        "sites of several shapes, widths with every remainder by four",
        "fits-base",
        integer_delta(0, (6, 8), 3),
        integer_delta(1, (8, 8), 1, 0.05),
        integer_delta(2, (5, 7), 5, 0.8),
        base=BASE,
    )
    yield coded(
        "coded-escapes",
        "magnitudes of 16, 17, 18 and of 65,552, the largest there is",
        "",
        Delta(
            0,
            np.array([[16, -17, 0, 18, 65552], [-65552, 0, 0, 0, 1]], np.int32),
            np.array([[0, 0, 17], [-1, 2, -3]], np.int32),
            grid_scales(2, 16),
        ),
    )
    yield coded(
        "coded-lanes",
        "enough symbols for several lanes; ranks and gaps that take two bytes",
        "",
        integer_delta(7, (300, 257), 70, 0.25),
        integer_delta(200, (129, 300), 20, 0.02, 2, -60),
        integer_delta(399, (300, 257), 2, 0.9, 90, -96),
        site_count=400,
    )
    yield coded(
        "coded-scales",
        "scales from the top of the grid to the lowest that one byte tells from it",
        "",
        Delta(
            3,
            integers(1, (3, 9), 0.5),
            integers(2, (3, 9), 0.5),
            np.array([2.0**64, 2.0**60, 1.6817928552627563 * 2.0**48], np.float32),
        ),
    )
    yield coded(
        "coded-many-labels",
        "a head of 300 labels",
        "head logits",
        integer_delta(2, (7, 9), 2),
        head=head_of(integer_layer(300, 8)),
        labels=tuple(f"label {i}" for i in range(300)),
    )


def _as_another_writer(draft: "Draft") -> bytes:
    tensors = dict(sorted(draft.tensors.items(), key=lambda item: (len(item[1].data), item[0])))
    header, body = Draft(dict(reversed(draft.meta.items())), tensors).parts()
    header = dict(reversed(header.items()))
    header["__metadata__"] |= {"osd.labels": ' [ "no",\t"\\u0079es" ] '}
    text = json.dumps(header, indent=1, separators=(" , ", " :\t")).replace(
        "vectors", "v\\u0065ctors"
    )
    return seal(text + "\r\n", body)
