"""Heads of every kind of task: fields for valid bundles, and heads whose kind is broken."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from parts import BASE, Delta, integer_delta, integer_layer, random_delta, random_layer
from surgery import Draft

from osd_edge.formats.bundle.model import StoredHead

SPANS = ("start", "end")


def kinds() -> Iterator[tuple[str, str, str, tuple[Delta, ...], dict[str, Any]]]:
    """Id, comment, flags, deltas and fields of a bundle for each kind beside `labels`."""
    yield (
        "kind-multi-label",
        "any of three labels",
        "fits-base fp32 head kind logits",
        (random_delta(0, 6, 8, 1, (6, 8)),),
        {
            "head": StoredHead("multi-label", "mean", (random_layer(3, 8),)),
            "labels": ("a", "b", "c"),
            "base": BASE,
        },
    )
    yield (
        "kind-regression",
        "one number",
        "fp32 head kind logits",
        (),
        {"head": StoredHead("regression", "cls", (random_layer(1, 8),)), "labels": ("score",)},
    )
    yield (
        "kind-token-labels",
        "logits for each token, with an activation that normalises",
        "fp16 head kind logits",
        (),
        {
            "head": StoredHead(
                "token-labels",
                "none",
                (random_layer(6, 8, "gelu-norm", values="fp16"), random_layer(3, 6)),
            ),
            "labels": ("O", "B-PER", "I-PER"),
        },
    )
    yield (
        "kind-spans",
        "where an answer starts and ends, coded",
        "fits-base coded head kind logits",
        (integer_delta(1, (8, 8), 2),),
        {
            "head": StoredHead("spans", "none", (integer_layer(2, 8),)),
            "labels": SPANS,
            "values": "coded",
            "base": BASE,
        },
    )
    yield (
        "kind-embedding",
        "no layers: the mean of the tokens, at length 1; coded",
        "fits-base coded head kind logits",
        (integer_delta(1, (8, 8), 2),),
        {
            "head": StoredHead("embedding", "mean", (), normalize=True),
            "labels": (),
            "values": "coded",
            "base": BASE,
        },
    )
    yield (
        "kind-embedding-layer",
        "a layer, and vectors left at their length; full values",
        "int8 head kind logits",
        (random_delta(1, 8, 8, 1, (3, 8), "int8"),),
        {
            "head": StoredHead("embedding", "last", (random_layer(4, 8, "tanh"),)),
            "labels": (),
            "values": "int8",
        },
    )
    yield (
        "kind-embedding-empty",
        "neither sites nor layers: the base's own first token, at length 1",
        "fits-base coded head kind logits",
        (),
        {
            "head": StoredHead("embedding", "cls", (), normalize=True),
            "labels": (),
            "values": "coded",
            "base": BASE,
        },
    )


def broken_kinds(files: Mapping[str, bytes]) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Id, code, comment, flags and bytes of heads that do not fit their kind."""
    labels, spans, embedding, writes = (
        Draft.of(files[name])
        for name in ("dense-fp32", "kind-spans", "kind-embedding", "generate-probe")
    )
    (layer,) = json.loads(labels.meta["osd.head"])["layers"]
    for name, comment, draft in (
        (
            "pooled-tokens",
            "labels for tokens, of one vector",
            labels.with_head(kind="token-labels"),
        ),
        (
            "unpooled-labels",
            "labels for the text, of every token",
            labels.with_head(pooling="none"),
        ),
        ("normalize-labels", "normalize for labels", labels.with_head(normalize=True)),
        ("normalize-missing", "an embedding without it", _without(embedding, "normalize")),
        ("normalize-number", "1 for true", embedding.with_head(normalize=1)),
        ("no-layers", "spans without a layer", spans.with_head(layers=[])),
        ("logits-labels", "labels of the base's own logits", labels.with_head(pooling="logits")),
        ("generate-pooled", "text of one vector", writes.with_head(pooling="cls")),
        ("generate-layers", "a layer on the base's logits", writes.with_head(layers=[layer])),
        ("generate-normalize", "normalize for text", writes.with_head(normalize=False)),
    ):
        yield f"kind-{name}", "bundle.head", comment, "head kind", draft.sealed()
    made = embedding.with_head(kind="multi-label", normalize=False).sealed()
    yield "kind-normalize-other", "bundle.head", "normalize for another kind", "head kind", made
    code = "bundle.labels"
    made = spans.with_meta({"osd.labels": '["end","start"]'}).sealed()
    yield "kind-spans-order", code, "the end before the start", "head kind", made
    made = embedding.with_meta({"osd.labels": '["x"]'}).sealed()
    yield "kind-embedding-label", code, "an embedding with a label", "head kind", made
    made = writes.with_meta({"osd.labels": '["x"]'}).sealed()
    yield "kind-generate-label", code, "text with a label", "head kind", made
    made = embedding.with_tensor("osd.coded", "U8", [6], bytes(6)).sealed()
    comment = "rows, but neither sites nor layers"
    yield "kind-embedding-rows", "bundle.coded-table", comment, "coded head kind", made


def _without(draft: Draft, field: str) -> Draft:
    head = json.loads(draft.meta["osd.head"])
    del head[field]
    return draft.with_meta({"osd.head": json.dumps(head)})
