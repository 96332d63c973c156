"""`tokenizer_config.json`: a tokenizer in the words of onnxruntime-genai, which has one of its own.

It reads `tokenizer.json`, but not all that may stand there: of normalizers, expressions and forms
that it does not know it makes other tokens, and says nothing. So a package tells it of a tokenizer
only where its ids were found to be the same (`tests/genai/test_tokens.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from osd_edge.exporters.genai.template import without_block_trimming

TOKENIZER_CONFIG = "tokenizer_config.json"
# Its classes whose ids are the same: which one it is decides how it splits a text.
_BYTES, _PIECES = "GPT2Tokenizer", "GemmaTokenizer"
_WORD_BREAKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
# The expressions that it knows, of Llama 3, Qwen 2 and 3, and Mistral's Tekken.
EXPRESSIONS = (
    _ENGLISH + r"\p{N}{1,3}|" + _WORD_BREAKS,
    _ENGLISH + r"\p{N}|" + _WORD_BREAKS,
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_SPACE = "▁"
_STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def tokenizer_config(tokenizer: Any, template: str | None) -> dict[str, Any] | None:
    """Gives the contents of `tokenizer_config.json`; None where genai's ids may be others.

    `tokenizer` is the checkpoint's, as transformers reads it, and `template` that of its
    conversations.
    """
    backend = tokenizer.backend_tokenizer
    form = _form(json.loads(backend.to_str()))
    ends = _ends(tokenizer)
    if form is None or ends is None:
        return None
    config: dict[str, Any] = {"tokenizer_class": form}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        if getattr(tokenizer, name) is not None:
            config[name] = getattr(tokenizer, name)
    config["add_bos_token"], config["add_eos_token"] = ends
    if template is not None:
        config["chat_template"] = without_block_trimming(template)
    return config


def _form(described: Mapping[str, Any]) -> str | None:
    """The class that splits texts as the tokenizer of a `tokenizer.json` does, if there is one."""
    model = described["model"]
    if model.get("type") != "BPE" or model.get("dropout"):
        return None
    normalizers = _steps(described.get("normalizer"), "normalizers")
    splits = _steps(described.get("pre_tokenizer"), "pretokenizers")
    if model.get("byte_fallback"):
        ends = _steps(described.get("decoder"), "decoders")[-1:]
        return _PIECES if _is_pieces(normalizers, splits, ends) else None
    # Composed characters are its affair alone where a text has decomposed ones, which few have.
    composed = [step for step in normalizers if step != {"type": "NFC"}]
    return _BYTES if not composed and _is_bytes(splits) else None


def _is_bytes(splits: Sequence[Mapping[str, Any]]) -> bool:
    """Says whether texts are split as GPT-2 splits them, or by an expression that genai knows."""
    if not splits or splits[-1].get("type") != "ByteLevel" or splits[-1].get("add_prefix_space"):
        return False
    before = splits[:-1]
    if splits[-1].get("use_regex", True):
        return all(_is_digits(split) for split in before)
    return len(before) == 1 and _expression(before[0]) in EXPRESSIONS


def _is_digits(split: Mapping[str, Any]) -> bool:
    return split.get("type") == "Digits" or _expression(split) == r"\p{N}"


def _expression(split: Mapping[str, Any]) -> str | None:
    isolated = split.get("behavior") == "Isolated" and not split.get("invert")
    return split["pattern"].get("Regex") if split.get("type") == "Split" and isolated else None


def _is_pieces(
    normalizers: Sequence[Mapping[str, Any]],
    splits: Sequence[Mapping[str, Any]],
    ends: Sequence[Mapping[str, Any]],
) -> bool:
    """Says whether texts become SentencePiece's pieces as those of Llama 2 and of Gemma do.

    `ends` is the last step of the decoder, from which genai takes whether a space is put first.
    """
    marked = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    prepended = {"type": "Prepend", "prepend": _SPACE}
    if list(normalizers) == [prepended, marked]:
        return not splits and list(ends) == [_STRIP]
    return list(normalizers) == [marked] and [
        (split.get("type"), split.get("pattern"), split.get("behavior")) for split in splits
    ] == [("Split", {"String": " "}, "MergedWithPrevious")]


def _steps(described: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if described is None:
        return []
    return list(described[key]) if described.get("type") == "Sequence" else [described]


def _ends(tokenizer: Any) -> tuple[bool, bool] | None:
    """Says whether texts get a first and a last token; None where they get any other."""
    backend = tokenizer.backend_tokenizer
    ids = backend.encode("a").ids
    bare = backend.encode("a", add_special_tokens=False).ids
    first, last = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    for bos, eos in ((False, False), (True, False), (False, True), (True, True)):
        if ids == first * bos + bare + last * eos:
            return bos, eos
    return None
