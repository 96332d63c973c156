"""Tasks of every kind, packages with fp16 factors, and pictures, with Python's own answers."""

import json
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    AutoModelForImageClassification,
    ViTImageProcessor,
)

from osd_edge.exporters import HeadOptions, export_base, export_task
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.task import decode_task
from tests.support import tiny
from tests.support.kinds import KINDS, make_embedding, with_marks
from tests.web.texts import in_units

_QUESTION = "a cat on the mat"
_CONTEXT = ("the bird flew", "Ünder 😀 the mats a cat sat, dogs", "  a dog  ran!  over the cat ")


def write_kinds(folder: Path, model: Path, prepare: Callable[[Path], None]) -> None:
    """Bundles of every kind over `folder`/base, made of `model`, and `kinds.json`.

    `prepare` gives a fine-tuned model the tokenizer of its base.
    """
    models = folder / "models"
    for seed, (kind, (task, settings)) in enumerate(KINDS.items(), 11):
        tuned = tiny.make_tuned(
            model, models / kind, task=task, seed=seed, size=0.05, linear_only=True, **settings
        )
        prepare(tuned)
    prepare(make_embedding(model, models / "embedding", size=0.05, seed=19))
    session = EdgeSession(folder / "base", threads=1)
    for kind in (*KINDS, "embedding"):
        bundle = folder / f"kind-{kind}.osd.safetensors"
        export_task(model, models / kind, bundle, name=kind, method="truncsvd", budget="r=16")
        session.load(bundle)
    tagger = folder / "kind-token-labels.osd.safetensors"
    session.load(with_marks(tagger, folder / "kind-marks.osd.safetensors"))
    long = " ".join(tiny.sentences(20, seed=5))
    texts = [*tiny.sentences(3, seed=4), *_CONTEXT, long]
    answers = {
        kind: [asdict(one) for one in session.classify(texts, task=kind)]
        for kind in ("multi-label", "regression")
    }
    tags = [
        {
            "task": task,
            "words": words,
            "max_length": most,
            "stride": stride,
            "tags": [
                [_placed(text, asdict(tag)) for tag in of]
                for text, of in zip(
                    texts,
                    session.tag(texts, words=words, task=task, max_length=most, stride=stride),
                    strict=True,
                )
            ],
        }
        for task in ("token-labels", "marks")
        for words, most, stride in ((False, None, 128), (True, 24, 6), (False, 32, 16))
    ]
    spans = [
        {
            "context": text,
            "top": top,
            "max_tokens": tokens,
            "max_length": most,
            "stride": stride,
            "spans": [
                _placed(text, asdict(span))
                for span in session.answer(
                    _QUESTION,
                    text,
                    top=top,
                    max_tokens=tokens,
                    task="spans",
                    max_length=most,
                    stride=stride,
                )
            ],
        }
        for text in texts
        for top, tokens, most, stride in ((1, 15, None, 128), (5, 4, 24, 6))
    ]
    expected = {
        "texts": texts,
        "question": _QUESTION,
        "classify": answers,
        "tag": tags,
        "answer": spans,
        "embed": session.embed(texts, task="embedding").tolist(),
    }
    (folder / "kinds.json").write_text(json.dumps(expected, ensure_ascii=False), "utf-8")


def write_fp16(folder: Path, model: Path, tasks: tuple[str, ...]) -> None:
    """A package of `model` that takes fp16 factors, with Python's logits and factors over it.

    `tasks` are those of `folder`/base.
    """
    export_base(model, folder / "fp16", factors="fp16")
    session = EdgeSession(folder / "fp16", threads=1)
    cases = []
    digests = {}
    for task in tasks:
        path = folder / f"base-{task}.osd.safetensors"
        session.load(path)
        feeds = decode_task(task, read_bundle_file(path), session.manifest).feeds
        names = sorted(feeds)
        digests[task] = sha256(b"".join(feeds[name].tobytes() for name in names)).hexdigest()
    for text in tiny.sentences(6):
        inputs = session.encode([text])
        runs = {task: session.run(inputs, task=task).logits for task in tasks}
        cases.append(
            {
                "text": text,
                "first_hidden": session.run(inputs, task=None).hidden[0, 0].tolist(),
                "logits": {k: None if v is None else v[0].tolist() for k, v in runs.items()},
            }
        )
    expected = {"cases": cases, "feeds_sha256": digests}
    (folder / "fp16.json").write_text(json.dumps(expected), "utf-8")


def write_pictures(folder: Path) -> None:
    """A base that takes pictures, a task over it, pictures and Python's answers."""
    model = tiny.make_base("vit", folder / "models" / "vit")
    ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.25, 0.2]
    ).save_pretrained(model)
    tuned = tiny.make_tuned(
        model, folder / "models" / "vit-task", task=AutoModelForImageClassification
    )
    export_base(model, folder / "vit")
    bundle = folder / "vit-task.osd.safetensors"
    head = HeadOptions(values="fp32")
    export_task(model, tuned, bundle, method="truncsvd", budget="r=8", head=head)
    session = EdgeSession(folder / "vit", threads=1)
    task = session.load(bundle)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    answers = [asdict(one) for one in session.classify_images(pictures, task=task)]
    expected = {"task": task, "pictures": [p.ravel().tolist() for p in pictures]}
    (folder / "pictures.json").write_text(json.dumps(expected | {"answers": answers}), "utf-8")


def _placed(text: str, found: dict[str, Any]) -> dict[str, Any]:
    """A tag or a span with its place as JavaScript counts."""
    return found | {key: in_units(text, found[key]) for key in ("start", "end")}
