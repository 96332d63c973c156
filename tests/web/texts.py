"""Small tokenizers of several kinds, and the windows that Python's runtime cuts with them.

What the JavaScript runtime is held to: ids, and where each token stands in the text.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from osd_edge.formats.package.manifest import TOKENIZER, BaseManifest, TextSettings
from osd_edge.runtime.kept_tokenizer import KeptTokenizer
from osd_edge.runtime.text import TextEncoder
from osd_edge.runtime.windows import Windows

LIMIT = 64  # tokens that the imagined base takes
_CORPUS = (
    "the cat sat on the mat while another dog was running over it",
    "birds are flying above the house, and nobody's watching them today",
    "naive cafes serve coffee; résumés of Zoë and François lie there",
    "numbers such as 1234 and 42 stand (in brackets) or not!",
) * 4
_QUESTION = "who sat on the mat?"
TEXTS = (
    "",
    "the cat sat on the mat",
    "  The  cat\tsat\non the mat.  ",
    "nobody's résumé, naïve cafe\u0301s (1234)!",
    "日本語 and 日本 😀😀 x 👩‍👩‍👧 unknownish zzzzqqqq",
    "a [SEP] b <mask> c </s>d\u00adash \u200bzero\u0000nul ½ ﬁne",
    " ".join(_CORPUS[:4]) + " " + " ".join(reversed(" ".join(_CORPUS[:4]).split())),
)


def write_windows(path: Path) -> None:
    """Write tokenizers with cases to `path`: texts, and the windows that are expected."""
    made = []
    for name, text, held in kept_tokenizers():
        cases = [
            _case(held, one, question, *lengths)
            for one in TEXTS
            for question in (None, _QUESTION)
            for lengths in ((LIMIT, 8), (40, 12))
        ]
        made.append({"name": name, "tokenizer": json.loads(text), "cases": cases})
    path.write_text(json.dumps(made, ensure_ascii=False), "utf-8")


def kept_tokenizers() -> Iterator[tuple[str, str, KeptTokenizer]]:
    """Each kind of tokenizer by name, as its file's text and as a session holds it."""
    for name, tokenizer in _tokenizers().items():
        text = tokenizer.to_str()
        yield name, text, KeptTokenizer(Path(TOKENIZER), text.encode(), TextSettings(LIMIT, 0))


def in_units(text: str, place: int) -> int:
    """The place in UTF-16 units, as JavaScript counts, of character `place`."""
    return len(text[:place].encode("utf-16-le", "surrogatepass")) // 2


def _case(
    tokenizer: KeptTokenizer, text: str, question: str | None, max_length: int, stride: int
) -> dict[str, Any]:
    windows = Windows(TextEncoder(tokenizer, imagined_base()), max_length, stride)
    cut = windows.of_text(text) if question is None else windows.of_context(question, text)
    return {
        "text": text,
        "question": question,
        "max_length": max_length,
        "stride": stride,
        "windows": [shown_window(text, encoding, pair=question is not None) for encoding in cut],
    }


def imagined_base() -> BaseManifest:
    """The manifest of a base of which nothing is used but how many tokens it takes."""
    return BaseManifest(
        family="bert",
        fingerprint="0" * 64,
        hidden_size=1,
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        hidden_output="last_hidden_state",
        pooler_output=None,
        sites=(),
        text=TextSettings(LIMIT, 0),
    )


def shown_window(text: str, encoding: Any, *, pair: bool) -> dict[str, Any]:
    """A window of `text`: its ids, their types, and where the text's own tokens stand in it."""
    tokens: list[list[int | None] | None] = []
    facts = zip(
        encoding.sequence_ids,
        encoding.special_tokens_mask,
        encoding.offsets,
        encoding.word_ids,
        strict=True,
    )
    for sequence, special, (start, end), word in facts:
        inside = sequence == 1 if pair else not special
        tokens.append([in_units(text, start), in_units(text, end), word] if inside else None)
    return {"ids": encoding.ids, "types": encoding.type_ids, "tokens": tokens}


def _tokenizers() -> dict[str, Tokenizer]:
    return {
        "word pieces": _word_pieces(lowercase=True),
        "word pieces with case": _word_pieces(lowercase=False),
        "bytes": _bytes(first=False),
        "bytes, a space put first": _bytes(first=True),
        "unigram": _unigram(
            normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
            pre_tokenizers.Metaspace(),
        ),
        "unigram of split words": _unigram(
            normalizers.Sequence(
                [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
            ),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        ),
    }


def _word_pieces(*, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _bytes(*, first: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=first)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=not first, add_prefix_space=first
    )
    return tokenizer


def _unigram(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer
