"""Bases, bundles and Python's own answers, for the tests of the JavaScript runtime.

`python -m tests.web.fixtures FOLDER` writes them: a small base, another one of the same shape,
tasks over both, what Python's session answers; tasks of every kind; packages of other kinds;
tokenizers and windows; damaged files; MiniLM's base, in fp32 and int8, with tasks of made-up
deltas, whose size and memory are those of a real one; and, where real checkpoints are beside the
project, tasks made of them.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.exporters.quiet import quiet_libraries
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.web.checkpoints import write_checkpoints
from tests.web.damaged import write_damaged
from tests.web.kinds import write_fp16, write_kinds, write_pictures
from tests.web.task_texts import write_task_texts
from tests.web.texts import write_windows

# Wide enough that the weights are several pieces of a download.
_SHAPE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3}
_TASKS = {"first": ("red", "green", "blue"), "second": ("yes", "no"), "third": ("north", "south")}
_UNUSUAL = ("", "Ünïcödé ½ 日本語 😀 \u200d\u00a0x", "dog " * 90, "don't! [SEP] cat-mat")


def main(folder: Path) -> None:
    """Write all fixtures to `folder`, which is replaced."""
    torch.set_num_threads(1)
    shutil.rmtree(folder, ignore_errors=True)
    quiet_libraries()
    for name, seed in (("base", 0), ("other", 7)):
        model = tiny.make_base("bert", folder / "models" / name, seed=seed, **_SHAPE)
        _word_pieces(model)
        export_base(model, folder / name)
        for i, (task, labels) in enumerate(_TASKS.items()):
            tuned = folder / "models" / f"{name}-{task}"
            tiny.make_tuned(model, tuned, labels=labels, seed=i + 1, size=0.02)
            _word_pieces(tuned)
            out = folder / f"{name}-{task}.osd.safetensors"
            coded: dict[str, Any] = {"method": "osd-rd", "refine": "none", "budget": "24KiB"}
            plain: dict[str, Any] = {"method": "truncsvd", "budget": "r=2"}
            plain |= {"values": ("fp32", "int8", "fp16")[i]}
            export_task(model, tuned, out, name=task, **(coded if i == 2 else plain))
    _expect(folder)
    model = folder / "models" / "base"
    write_kinds(folder, model, _word_pieces)
    write_fp16(folder, model, tuple(_TASKS))
    write_pictures(folder)
    write_windows(folder / "windows.json")
    write_task_texts(folder)
    write_damaged(folder)
    _minilm(folder)
    write_checkpoints(folder)
    shutil.rmtree(folder / "models")


def _word_pieces(folder: Path) -> None:
    """Replace the tokenizer in `folder` by one of the kind that BERT has."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*tiny.WORDS[:-2], "##s", "##t"]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)


def _expect(folder: Path) -> None:
    """Write what Python's session answers, with the ids of its tokenizer."""
    session = EdgeSession(folder / "base", threads=1)
    for task in _TASKS:
        session.load(folder / f"base-{task}.osd.safetensors")
    cases = []
    for text in (*tiny.sentences(6), *_UNUSUAL):
        for pair in (None, "the mat on a bird"):
            inputs = session.encode([text], None if pair is None else [pair])
            hidden = session.run(inputs, task=None).hidden
            runs = {task: session.run(inputs, task=task).logits for task in _TASKS}
            case = {
                "text": text,
                "pair": pair,
                "ids": inputs["input_ids"][0].tolist(),
                "types": inputs["token_type_ids"][0].tolist(),
                "first_hidden": hidden[0, 0].tolist(),
                "logits": {task: None if x is None else x[0].tolist() for task, x in runs.items()},
            }
            cases.append(case)
    (folder / "expected.json").write_text(json.dumps(cases, ensure_ascii=False), "utf-8")


def _minilm(folder: Path) -> None:
    """The real base in fp32 and int8, and tasks whose deltas are random: for sizes and memory."""
    source = minilm_folder()
    export_base(source, folder / "minilm")
    export_base(source, folder / "minilm-int8", weights="int8")
    for seed, (task, labels) in enumerate(_TASKS.items()):
        tuned = tiny.make_tuned(
            source, folder / "models" / f"minilm-{task}", labels=labels, seed=seed, size=0.0
        )
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(source / name, tuned / name)
        weights = load_file(tuned / "model.safetensors")
        generator = torch.Generator().manual_seed(seed)
        for name, weight in weights.items():
            if weight.ndim == 2 and ".layer." in name:
                left, right = (torch.randn(n, generator=generator) for n in weight.shape)
                weights[name] = weight + 0.01 * torch.outer(left, right) / weight.shape[1] ** 0.5
        save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
        out = folder / f"minilm-{task}.osd.safetensors"
        export_task(source, tuned, out, name=task, method="truncsvd", values="int8")
    _expect_int8(folder)


def _expect_int8(folder: Path) -> None:
    """Write `int8.json`: logits over MiniLM in int8, and how far fp32 is from them at most."""
    session, exact = (EdgeSession(folder / name, threads=1) for name in ("minilm-int8", "minilm"))
    cases = []
    moved = 0.0
    for one in (session, exact):
        for task in _TASKS:
            one.load(folder / f"minilm-{task}.osd.safetensors")
    for text in (*tiny.sentences(6), "a film of real charm", "When was the telegraph invented?"):
        inputs = session.encode([text])
        logits = {}
        for task in _TASKS:
            found, wanted = (one.run(inputs, task=task).logits for one in (session, exact))
            assert found is not None and wanted is not None
            logits[task] = found[0].tolist()
            moved = max(moved, float(abs(found - wanted).max()))
        cases.append({"text": text, "ids": inputs["input_ids"][0].tolist(), "logits": logits})
    (folder / "int8.json").write_text(json.dumps({"moved": moved, "cases": cases}), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
