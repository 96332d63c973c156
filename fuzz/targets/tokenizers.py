"""Opens tokenizers and tokenizes a few texts with them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutators.json_values import mutate_json, mutate_json_text, written
from fuzz.mutators.octets import mutate_octets
from fuzz.outcome import ACCEPTED, Fault, Observed
from fuzz.targets import seeds
from fuzz.targets.target import Reader, Target
from osd_edge.formats.package.manifest import TOKENIZER, TextSettings
from osd_edge.formats.package.manifest_reader import parse_manifest
from osd_edge.runtime.kept_tokenizer import KeptTokenizer
from osd_edge.runtime.text import TextEncoder

_TEXTS = ("the cat sat on the mat", "", "Ünï ﬁ 🙂", "a" * 200)
_LENGTH = 16  # tokens
_MODELS: tuple[dict[str, Any], ...] = (
    {
        "type": "BPE",
        "vocab": {"a": 0, "c": 1, "t": 2, "h": 3, "e": 4, "at": 5, "cat": 6, "[UNK]": 7},
        "merges": [["a", "t"], ["c", "at"]],
        "unk_token": "[UNK]",
    },
    {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "the": 1, "ca": 2, "##t": 3, "s": 4, "##at": 5},
    },
    {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["<unk>", 0.0], ["a", -1.0], ["c", -2.0], ["at", -1.5], ["▁the", -2.5]],
        "byte_fallback": False,
    },
)
_STEPS: tuple[dict[str, Any], ...] = (
    {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 0]},
    },
    {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "post_processor": None,
    },
    {
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
    },
)
_WORDS = (
    *("BPE", "WordPiece", "WordLevel", "Unigram", "Sequence", "Split", "Whitespace", "Digits"),
    *("Metaspace", "ByteLevel", "Precompiled", "Replace", "Prepend", "Strip", "NFC", "Lowercase"),
    *("TemplateProcessing", "ByteFallback", "Fuse", "LongestFirst", "Right", "Left", "Isolated"),
    *({"String": ""}, {"String": " "}, {"Regex": ""}, {"Regex": "(a*)*b"}, {"Regex": "("}),
    *({"Fixed": 8}, "BatchLongest", None, True, False, "[UNK]", "▁"),
)


def tokenizers() -> list[bytes]:
    """Reads the tokenizers of releases, and makes one of each model with each kind of steps."""
    found = [(folder / TOKENIZER).read_bytes() for folder in seeds.packages()]
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
    }
    for model in _MODELS:
        for steps in _STEPS:
            fields = whole | steps | {"decoder": None, "model": model}
            found.append(json.dumps(fields, ensure_ascii=False).encode())
    return found


def mutate_tokenizer(noise: Random, data: bytes, other: bytes) -> bytes:
    """Gives a mutant of a `tokenizer.json`, with parts of another."""
    kind = noise.random()
    if kind > 0.95:
        return mutate_octets(noise, data, other)
    try:
        value, source = json.loads(data), json.loads(other)
    except (ValueError, RecursionError):
        return mutate_octets(noise, data, other)
    if kind > 0.9:
        return mutate_json_text(noise, data.decode(errors="replace")).encode(
            "utf-8", "surrogatepass"
        )
    if kind > 0.7 and isinstance(source, dict) and isinstance(value, dict) and source:
        key = noise.choice(list(source))
        value[key] = source[key]
    for _ in range(noise.choice((1, 1, 2, 3))):
        value = mutate_json(noise, value, _WORDS)
    return written(noise, value).encode("utf-8", "surrogatepass")


def opened(folder: Path) -> Reader:
    """Gives what opens a tokenizer and makes token inputs of texts and of two texts each."""
    manifest = parse_manifest(seeds.base_manifest())
    manifest = replace(manifest, text=TextSettings(max_length=_LENGTH, pad_id=0))

    def run(data: bytes) -> Observed:
        encode = TextEncoder(KeptTokenizer(folder / TOKENIZER, data, manifest.text), manifest)
        counts = []
        for arguments in ((_TEXTS,), (_TEXTS[:2], _TEXTS[2:])):
            for array in encode(*arguments).values():
                if array.shape[1] > _LENGTH:
                    raise Fault("more tokens than the base takes", str(array.shape))
                counts.append(array.shape[1])
        return Observed(ACCEPTED, (_kinds_in(data), encode.special_tokens))

    return run


def _kinds_in(data: bytes) -> tuple[str, ...]:
    """Names the model and the steps of a tokenizer, of which a file says the type."""
    return tuple(sorted(set(re.findall(r'"type" ?: ?"(\w+)"', data.decode(errors="replace")))))


TOKENIZER_TARGET = Target(
    "tokenizer",
    tokenizers,
    mutate_tokenizer,
    opened,
    frozenset({"base", "input"}),
    share=0.15,
    inputs=0.02,
    seconds=2.0,
    counted=False,  # the package is written in Rust
    talks=True,  # and tells of its panics itself
)
