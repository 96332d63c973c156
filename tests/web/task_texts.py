"""Tasks that cut texts in their own way or have a prompt, with Python's tokens and answers."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.bundle.text import TaskText
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.kept_tokenizer import KeptTokenizer
from osd_edge.runtime.text import TextEncoder
from osd_edge.runtime.windows import Windows
from tests.support import tiny
from tests.web.texts import TEXTS, imagined_base, kept_tokenizers, shown_window

_SETTINGS = (
    TaskText(max_length=12),
    TaskText(truncation="left"),
    TaskText(max_length=13, truncation="left"),
    TaskText(max_length=24, truncation="left", prompt="who sat: "),
    TaskText(prompt="query: "),
)
_LONG = (" ".join(TEXTS[1:4]) + " ") * 60  # cut before it is tokenized
_PAIRS = ((1, None), (6, None), (6, 1), (1, 6), (6, 6), (0, 6))


def write_task_texts(folder: Path) -> None:
    """Write `task-texts.json`, and bundles over `folder`/base with `task-answers.json`."""
    made = [
        {"name": name, "tokenizer": json.loads(text), "cases": _cases(kept)}
        for name, text, kept in kept_tokenizers()
    ]
    (folder / "task-texts.json").write_text(json.dumps(made, ensure_ascii=False), "utf-8")
    (folder / "task-answers.json").write_text(json.dumps(_answers(folder)), "utf-8")


def _cases(tokenizer: KeptTokenizer) -> list[dict[str, Any]]:
    texts: list[tuple[str, str | None]] = [
        (TEXTS[one], None if other is None else TEXTS[other]) for one, other in _PAIRS
    ]
    texts += [(_LONG, None), (_LONG, _LONG[5:]), (_LONG[9:], TEXTS[1]), (TEXTS[6], _LONG)]
    cases = []
    for settings in _SETTINGS:
        encoder = TextEncoder(tokenizer, imagined_base(), settings)
        for text, pair in texts:
            for asked in (None, 9):
                cut = encoder([text], None if pair is None else [pair], max_length=asked)
                ids, types = (cut[name][0].tolist() for name in ("input_ids", "token_type_ids"))
                case = {"settings": settings.described(), "text": text, "pair": pair}
                cases.append(case | {"max_length": asked, "ids": ids, "types": types})
        windows = Windows(encoder, None, 4)
        laid = [shown_window(TEXTS[6], window, pair=False) for window in windows.of_text(TEXTS[6])]
        cases[-1] |= {"windows_of": TEXTS[6], "stride": 4, "windows": laid}
    return cases


def _answers(folder: Path) -> dict[str, Any]:
    """Python's answers by tasks with settings of their own, made of those that are there."""
    long = [" ".join(tiny.sentences(30, seed=seed)) for seed in (5, 6)]
    session = EdgeSession(folder / "base", threads=1)
    sources = {
        "text-labels": ("base-first", TaskText(max_length=20, truncation="left", prompt="a cat ")),
        "text-embedding": ("kind-embedding", TaskText(max_length=16, prompt="dog ")),
        "text-token-labels": ("kind-token-labels", TaskText(max_length=24, truncation="left")),
        "text-spans": ("kind-spans", TaskText(max_length=30)),
    }
    for name, (source, text) in sources.items():
        bundle = read_bundle_file(folder / f"{source}.osd.safetensors")
        path = folder / f"{name}.osd.safetensors"
        path.write_bytes(write_bundle(replace(bundle, task=name, text=text)))
        session.load(path)
    question = "a cat"
    return {
        "texts": long,
        "question": question,
        "classify": [asdict(one) for one in session.classify(long, long[::-1], task="text-labels")],
        "embed": session.embed(long, task="text-embedding").tolist(),
        "tag": [
            [asdict(tag) for tag in tags]
            for tags in session.tag(long, task="text-token-labels", stride=6)
        ],
        "answer": [
            asdict(span)
            for span in session.answer(question, long[0], task="text-spans", stride=6, top=3)
        ],
        "ids": session.encode(long, task="text-embedding")["input_ids"].tolist(),
    }
