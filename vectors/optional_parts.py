"""Cases of the parts that a bundle need not have, from its sequence to vectors; and of slots."""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ed25519 import public_key, sign
from parts import (
    Delta,
    grid_scales,
    head_of,
    integer_delta,
    integer_layer,
    integers,
    random_delta,
    random_layer,
)
from surgery import Draft

from osd_edge.formats.bundle.model import StoredHead
from osd_edge.formats.bundle.probe import Probe, ProbeCase
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.bundle.vectors import VectorDelta

SEED = hashlib.sha256(b"signing key of the vectors").digest()  # its private key, for all to know
KEY_ID = hashlib.sha256(public_key(SEED)).hexdigest()[:16]
BLANK_SIGNATURE = KEY_ID + "0" * 128
SIGNED = b"osd-edge bundle signature 1\n"  # stands before the digest in what is signed

_WRITES = StoredHead("generate", "logits", ())
_TAGS = StoredHead("token-labels", "none", (random_layer(3, 8),))

Fields = dict[str, Any]


def vector_delta(vector: int, size: int, largest: int = 3) -> VectorDelta:
    """A change of a vector: random integers, and a scale of the grid."""
    codes = integers(100 + vector + size, (1, size), 0.4, largest)[0]
    return VectorDelta(vector, codes, np.float32(grid_scales(1, -70)[0]))


def optional_cases() -> Iterator[tuple[str, str, str, tuple[Delta, ...], Fields]]:
    """Id, comment, flags, deltas and fields of valid bundles."""
    delta = (integer_delta(1, (8, 8), 2),)
    coded: Fields = {"values": "coded", "head": head_of(integer_layer(2, 8))}
    yield "sequence", "the 41st file of its task", "fp32", (), {"sequence": 41}
    largest = 999_999_999_999_999
    yield "sequence-largest", "15 digits", "fp32", (), {"sequence": largest}
    yield (
        "text",
        "a length, a side and a prompt of its own",
        "json text",
        (),
        {"text": TaskText(128, "left", "query: ")},
    )
    yield (
        "text-tokens",
        "token labels may have a length and a side, but no prompt",
        "kind text",
        (),
        {"head": _TAGS, "labels": ("O", "B", "I"), "text": TaskText(2**31 - 1, "right")},
    )
    cases = (
        ProbeCase(text="a dull film", logits=(2.5, -2.5)),
        ProbeCase(text="Who?", pair="", logits=(0.0, 1e-3)),
        ProbeCase(ids=(2, 5, 3), logits=(-1,)),
        ProbeCase(text="", logits=(1e39, -0.0)),
    )
    yield (
        "probe",
        "a text, a pair and token ids with their logits, the last with the first of two alone",
        "coded json probe",
        delta,
        coded | {"probe": Probe(0.01, cases)},
    )
    yield (
        "probe-seed",
        "a picture by its seed; a tolerance of 1, the most",
        "kind probe",
        (),
        {
            "head": StoredHead("regression", "cls", (random_layer(1, 8),)),
            "labels": ("score",),
            "probe": Probe(1, (ProbeCase(seed=65535, logits=(0.5,)),)),
        },
    )
    yield (
        "probe-tokens",
        "logits of three tokens, row by row: more than the task has outputs",
        "kind probe",
        (),
        {
            "head": _TAGS,
            "labels": ("O", "B", "I"),
            "probe": Probe(0.5, (ProbeCase(ids=(0,), logits=(1, 0, 0, 1, 2, 3, 4, 5, 6)),)),
        },
    )
    yield (
        "probe-embedding",
        "the first four of eight features",
        "kind probe",
        (),
        {
            "head": StoredHead("embedding", "mean", (), normalize=True),
            "labels": (),
            "probe": Probe(0.1, (ProbeCase(text="a", logits=(0.5, 0.5, -0.5, 0.5)),)),
        },
    )
    yield (
        "generate",
        "a task that writes text: no layers, no labels; coded",
        "coded head kind",
        delta,
        {"values": "coded", "head": _WRITES, "labels": ()},
    )
    yield (
        "generate-probe",
        "with text settings, and the tokens that a prompt must lead to",
        "head kind probe text",
        (random_delta(0, 6, 8, 1, (6, 8)),),
        {
            "head": _WRITES,
            "labels": (),
            "text": TaskText(max_length=2048, prompt="Say: "),
            "probe": Probe(0.01, (ProbeCase(text="Hi", tokens=(12, 0, 2**31 - 1)),)),
        },
    )
    yield (
        "vectors",
        "changes of four vectors beside coded factors: widths with every remainder by four",
        "coded vectors",
        delta,
        coded
        | {"vectors": tuple(vector_delta(i, n) for i, n in ((0, 8), (1, 7), (130, 6), (131, 5)))},
    )
    yield (
        "vectors-alone",
        "the last vector there may be, with the largest integer, beside factors of fp32",
        "fp32 vectors",
        (random_delta(0, 6, 8, 1, (6, 8)),),
        {"vectors": (vector_delta(65_534, 1, 65_552),)},
    )


def signed(draft: Draft) -> bytes:
    """The file with a signature by the key of the vectors, and then the digest."""
    blank = draft.with_meta({"osd.signature": BLANK_SIGNATURE, "osd.sha256": "0" * 64}).sealed()
    digest = json.loads(blank[8:].split(b"}}", 1)[0] + b"}}")["__metadata__"]["osd.sha256"]
    # The digest of the file with both blank is what the digest's own rule gives.
    signature = sign(SEED, SIGNED + bytes.fromhex(digest)).hex()
    return draft.with_meta({"osd.signature": KEY_ID + signature, "osd.sha256": "0" * 64}).sealed()


def broken_optional(files: Mapping[str, bytes]) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Id, code, comment, flags and bytes of files with such a part broken."""
    plain = Draft.of(files["dense-fp32"])
    for name, value in (
        ("zero", "0"),
        ("leading-zero", "01"),
        ("long", "1" * 16),
        ("sign", "+1"),
        ("empty", ""),
    ):
        made = plain.with_meta({"osd.sequence": value}).sealed()
        yield f"sequence-{name}", "bundle.key-value", f"osd.sequence is {value!r}", "", made
    yield from _broken_signatures(plain)
    yield from _broken_texts(plain, Draft.of(files["kind-token-labels"]))
    yield from _broken_probes(plain, Draft.of(files["generate"]))
    yield from _broken_vectors(Draft.of(files["vectors"]), Draft.of(files["coded-tiny"]))
    yield from _broken_slots(files)


_Broken = Iterator[tuple[str, str, str, str, bytes]]


def _broken_signatures(draft: Draft) -> _Broken:
    code = "bundle.signature"
    for name, comment, value in (
        ("empty", "no digits", ""),
        ("short", "143 digits", "a" * 143),
        ("upper-case", "digits in upper case", "A" * 144),
    ):
        made = draft.with_meta({"osd.signature": value}).sealed()
        yield f"signature-{name}", code, comment, "signature", made
    whole = {"osd.signature": BLANK_SIGNATURE}
    made = draft.with_meta(whole | {"info.copy": BLANK_SIGNATURE}).sealed()
    yield "signature-twice", code, "its digits stand twice", "signature", made
    assert KEY_ID[3] == "e", "a letter: the escape of a digit ends in that digit"
    escaped = f"{KEY_ID[:3]}\\u0065{BLANK_SIGNATURE[4:]}"
    made = draft.with_meta(whole).sealed(lambda text: text.replace(BLANK_SIGNATURE, escaped))
    yield (
        "signature-escaped",
        code,
        "a letter is written as an escape",
        "json signature",
        made,
    )


def _broken_texts(draft: Draft, tokens: Draft) -> _Broken:
    code = "bundle.text"
    for name, comment, value in (
        ("empty", "nothing set", "{}"),
        ("list", "no object", '["query: "]'),
        ("length-zero", "a length of 0", '{"max_length":0}'),
        ("length-huge", "2^31 tokens", '{"max_length":2147483648}'),
        ("length-fraction", "8.0 tokens", '{"max_length":8.0}'),
        ("length-true", "true for a length", '{"max_length":true}'),
        ("side", "cut in the middle", '{"truncation":"middle"}'),
        ("side-null", "null for a side", '{"truncation":null}'),
        ("prompt-empty", "a prompt of no letters", '{"prompt":""}'),
        ("prompt-number", "a number for a prompt", '{"prompt":1}'),
    ):
        made = draft.with_meta({"osd.text": value}).sealed()
        yield f"text-{name}", code, comment, "text", made
    made = tokens.with_meta({"osd.text": '{"prompt":"query: "}'}).sealed()
    yield "text-prompt-tokens", code, "a prompt before text whose tokens are judged", "text", made
    later = {"osd.text": '{"later":1,"max_length":0}'}
    made = draft.with_meta(later).sealed()
    comment = "a setting of a later release, told before what else is wrong"
    yield "text-unknown", "bundle.key-unknown", comment, "order text", made
    made = draft.with_meta({"osd.text": "{"}).sealed()
    yield "text-not-json", "bundle.key-value", "osd.text is not JSON", "json text", made
    made = draft.with_meta({"osd.text": "{}", "osd.probe": "{}"}).sealed()
    yield "text-first", code, "text settings are told before the probe", "order text", made
    made = draft.with_meta({"osd.text": "{}"}).with_head(layers=[]).sealed()
    yield "text-after-head", "bundle.head", "and after the head", "order text", made


def _broken_probes(draft: Draft, writes: Draft) -> _Broken:
    code = "bundle.probe"
    good = {"text": "a", "logits": [1]}

    def probed(cases: Any, tolerance: Any = 0.1, draft: Draft = draft) -> bytes:
        value = json.dumps({"tolerance": tolerance, "cases": cases})
        return draft.with_meta({"osd.probe": value}).sealed()

    for name, comment, cases in (
        ("no-cases", "no case", []),
        ("many", "17 cases", [good] * 17),
        ("case-list", "a case that is a list", [[1]]),
        ("no-input", "logits of nothing", [{"logits": [1]}]),
        ("two-inputs", "a text and token ids", [good | {"ids": [1]}]),
        ("pair-alone", "a second text without a first", [{"pair": "a", "logits": [1]}]),
        ("pair-ids", "a second text beside ids", [{"ids": [1], "pair": "a", "logits": [1]}]),
        ("no-answer", "no logits", [{"text": "a"}]),
        ("labels-tokens", "tokens of a task of labels", [{"text": "a", "tokens": [1]}]),
        ("key", "a key too many", [good | {"later": 1}]),
        ("text-number", "a number for a text", [{"text": 1, "logits": [1]}]),
        ("ids-empty", "no ids", [{"ids": [], "logits": [1]}]),
        ("ids-negative", "an id below 0", [{"ids": [-1], "logits": [1]}]),
        ("ids-huge", "an id of 2^31", [{"ids": [2**31], "logits": [1]}]),
        ("ids-fraction", "an id with a fraction", [{"ids": [1.0], "logits": [1]}]),
        ("seed-huge", "a seed of 65,536", [{"seed": 65536, "logits": [1]}]),
        ("logits-empty", "no logits", [{"text": "a", "logits": []}]),
        ("logits-many", "three logits of two", [{"text": "a", "logits": [1, 2, 3]}]),
        ("logits-string", "a logit in quotes", [{"text": "a", "logits": ["1"]}]),
        ("logits-true", "true for a logit", [{"text": "a", "logits": [True]}]),
        ("cases-object", "an object of cases", {"a": good}),
    ):
        yield f"probe-{name}", code, comment, "probe", probed(cases)
    for name, tolerance in (("zero", 0), ("two", 2), ("string", "1"), ("true", True)):
        made = probed([good], tolerance)
        yield f"probe-tolerance-{name}", code, f"a tolerance of {tolerance!r}", "probe", made
    made = draft.with_meta({"osd.probe": '{"cases":[{"text":"a","logits":[1]}]}'}).sealed()
    yield "probe-no-tolerance", code, "no tolerance", "probe", made
    huge = '{"tolerance":0.1,"cases":[{"text":"a","logits":[1e999]}]}'
    made = draft.with_meta({"osd.probe": huge}).sealed()
    yield "probe-logits-infinite", code, "a logit beyond any double", "probe", made
    made = probed([good], draft=writes)
    yield "probe-generate-logits", code, "logits of a task that writes text", "kind probe", made
    made = draft.with_meta({"osd.probe": "[NaN]"}).sealed()
    yield "probe-not-json", "bundle.key-value", "osd.probe is not JSON", "json probe", made


def _broken_vectors(draft: Draft, tiny: Draft) -> _Broken:
    data = bytes(draft.tensors["osd.vectors"].data)
    # 4 vectors: gaps 0, 0, 128 (two bytes), 0; sizes 8, 7, 6, 5; top, four scales; then rows.
    head, scales, rows = data[:10], data[10:16], data[16:]
    assert head == bytes([4, 0, 8, 0, 7, 128, 1, 6, 0, 5]), "gaps and sizes"

    def made(table: bytes, draft: Draft = draft) -> bytes:
        return draft.with_tensor("osd.vectors", "U8", [len(table)], table).sealed()

    code = "bundle.coded-table"
    for name, comment, table in (
        ("empty", "no bytes", b""),
        ("none", "no vectors", b"\0"),
        ("cut", "ends within the table", head[:6]),
        ("cut-scales", "ends within the scales", head + scales[:3]),
        ("index", "vector 65,535", b"\1\xff\xff\3\5" + scales[:3] + rows),
        ("size-zero", "a vector of no numbers", head[:2] + b"\0" + head[3:] + scales + rows),
        ("size-large", "65,536 numbers", b"\1\0\x80\x80\4" + scales[:3] + rows),
        ("number-long", "a number too long", b"\x84\0" + head[1:] + scales + rows),
        ("scale-high", "a scale above 2^64", head + b"\1\4" + scales[2:] + rows),
        ("scale-largest", "all scales below", head + scales[:2] + b"\1" * 4 + rows),
    ):
        yield f"vectors-table-{name}", code, comment, "vectors", made(table)
    code = "bundle.coded-stream"
    yield "vectors-cut", code, "ends before its last bits", "vectors", made(data[:-1])
    yield "vectors-trailing", code, "a byte too many", "vectors", made(data + b"\0")
    few = bytes([3, 0, 1, 0, 1, 0, 1]) + scales[:2] + bytes(3) + bytes(3)
    yield "vectors-rows", "bundle.coded-size", "three rows in three bytes", "vectors", made(few)
    code = "bundle.tensor-type"
    wrong = draft.with_tensor("osd.vectors", "I8", [len(data)], data).sealed()
    yield "vectors-type", code, "osd.vectors is I8", "vectors", wrong
    broken = bytes(tiny.tensors["osd.coded"].data)[:-2]
    both = tiny.with_tensor("osd.coded", "U8", [len(broken)], broken)
    comment = "a table of vectors and a stream of rows, both broken: tables come first"
    yield "vectors-first", "bundle.coded-table", comment, "order vectors", made(b"\0", both)
    late = made(head + scales + rows[:-1], both.with_head(layers=[]))
    yield "vectors-after-head", "bundle.head", "a broken head comes before", "order vectors", late


def _broken_slots(files: Mapping[str, bytes]) -> _Broken:
    flags = "hostile-size"
    code = "bundle.slots"
    most = Draft.of(files["slots-most"])
    *row, inputs, rank = struct.unpack("<4H", most.tensors["osd.sites"].data)
    made = most.with_numbers("osd.sites", "U16", [1, 4], *row, inputs + 1, rank).sealed()
    yield "slots-over", code, "one slot more than 128 for each byte", flags, made
    tiny = Draft.of(files["tiny"]).with_numbers("osd.sites", "U16", [1, 4], 0, *[65535] * 3)
    # Index 1 of 32 bits in either factor.
    tiny = tiny.with_tensor("osd.positions", "U8", [64], (b"\1" + bytes(31)) * 2)
    yield "slots-sites", code, "17 GB of factors from two values", flags, tiny.sealed()
    layer = {"shape": [65535, 384], "rank": 0, "activation": None}
    last = {"shape": [1, 65535], "rank": 0, "activation": None}
    coded = Draft.of(files["coded-tiny"])
    made = coded.with_head(layers=[layer, last]).sealed()
    yield "slots-head", code, "a head of 25 million slots", f"coded {flags}", made
    huge = b"\1\1\xff\xff\3\xff\xff\3\0" + b"\xff\1" + bytes(2) + bytes(256)
    made = coded.with_tensor("osd.coded", "U8", [len(huge)], huge).sealed()
    yield (
        "slots-coded",
        code,
        "256 columns of 131,070 slots; no rows at all",
        f"coded {flags}",
        made,
    )
    vectors = Draft.of(files["vectors-alone"])
    table = b"\3" + b"\0\xff\xff\3" * 3 + bytes(2) + bytes(3)
    made = vectors.with_tensor("osd.vectors", "U8", [len(table)], table).sealed()
    yield "slots-vectors", code, "three vectors of 65,535, and no rows", f"vectors {flags}", made
