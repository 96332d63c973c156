"""Very long texts are cut before they are tokenized, and give the tokens that they gave."""

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from osd_edge.data.long_texts import CutSide, used_texts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = "the cat sat on the mat twice, (running) another é ﬁne "
LONG = {  # no longer than tests, since what tokenizers make of long pairs whole is slow
    "usual": WORDS * 10,
    "usual and a word": "mat " + WORDS * 10,
    "words of one token": ("z" * 110 + " ") * 5,
    "blanks": "the cat" + " " * 400 + WORDS * 10 + " " * 70,
    "no blanks": "thecatsatonthemat," * 25,
    "lines": "\n\nthe cat\nsat on\tthe mat" * 20,
    "short": "a cat",
    "empty": "",
}


def _trained(model: Any, trainer: Any, pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(
        ["the cat sat on the mat, while another was running", "birds flew under it (twice)!"],
        trainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "word pieces": lambda: _trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer,
        pre_tokenizers.BertPreTokenizer(),
    ),
    "bytes": lambda: _trained(
        models.BPE(), trainers.BpeTrainer, pre_tokenizers.ByteLevel(add_prefix_space=False)
    ),
    "unigram": lambda: _trained(
        models.Unigram(),
        lambda **options: trainers.UnigramTrainer(unk_token="[UNK]", **options),
        pre_tokenizers.Metaspace(),
    ),
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("most", [12, 13])  # an odd token of a pair goes to the longer text
@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_is_cut_off_changes_no_token(name: str, most: int, side: CutSide) -> None:
    tokenizer = TOKENIZERS[name]()

    def ids(text: str, pair: str | None) -> list[int]:
        tokenizer.enable_truncation(most, direction=side)
        found: list[int] = tokenizer.encode(text, pair).ids
        return found

    def count(text: str) -> int:
        tokenizer.no_truncation()
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    pairs: list[tuple[str, str | None]] = [(one, None) for one in LONG.values()]
    for fixed in (LONG["usual"], LONG["lines"], LONG["short"]):  # not each with each, which is slow
        pairs += [(one, fixed) for one in LONG.values()] + [(fixed, one) for one in LONG.values()]
    cut_ones = 0
    for one, other in pairs:
        cut = used_texts(one, other, most, side, count)
        cut_ones += cut != (one, other)
        assert ids(*cut) == ids(one, other), (one[:20], (other or "")[:20])
    assert cut_ones > 30


@pytest.mark.parametrize("side", ["right", "left"])
def test_of_two_texts_of_10_mb_little_is_read_at_once(side: CutSide) -> None:
    read = []

    def count(text: str) -> int:
        read.append(len(text))
        return len(text.split())

    long = "a cat on the mat " * 600_000
    one, other = used_texts(long, long[: len(long) // 2], 512, side, count)
    assert other is not None and max(len(one), len(other)) < 70_000
    assert len(one.split()) > len(other.split()) > 1024
    assert max(read) < 100_000 and sum(read) < 1.1 * len(long)  # until it is known to be longer
    read.clear()
    used_texts(long, long, 512, side, count)
    assert sum(read) < 150_000


def test_texts_of_nearly_as_many_tokens_are_counted_whole() -> None:
    """In pieces a token more or less might be found."""
    read = []

    def count(text: str) -> int:
        read.append(len(text))
        return len(text.split())

    long = "a cat on the mat " * 10_000
    for one, other in ((long, long + "cat"), (long + "cat", long)):
        used = used_texts(one, other, 5, "right", count)
        longer = one if len(one) > len(other) else other
        assert used[1] is not None
        counts = [len(used[0].split()), len(used[1].split())]
        assert (counts[0] > counts[1]) == (longer is one)
    assert max(read) == len(long) + 3


@pytest.mark.parametrize("side", ["right", "left"])
def test_usual_texts_are_neither_cut_nor_counted(side: CutSide) -> None:
    def count(text: str) -> int:
        raise AssertionError(text)

    text = "a cat on a mat " * 20
    assert used_texts(text, None, 512, side, count) == (text, None)
    assert used_texts(text, text, 512, side, count) == (text, text)
