"""Texts and files to calibrate with that are odd: long texts, pipes, files that are not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from osd_edge.data.examples import Example, read_examples
from osd_edge.errors import DataError
from osd_edge.exporters.scoring.batches import MAX_TOKENS, make_batches
from osd_edge.exporters.scoring.calibrated_task import examples_in
from tests.support.command_line import run_cli

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def _trained(model: Any, trainer: Any, pre_tokenizer: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(
        ["the cat sat on the mat, while another was running", "birds flew under it (twice)!"],
        trainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
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
WORDS = "the cat sat on the mat twice, (running) another é ﬁne "
LONG = {
    "usual": WORDS * 90,
    "words of one token": ("z" * 200 + " ") * 90,
    "blanks": "the cat" + " " * 5000 + WORDS * 90,
    "no blanks": "thecatsatonthemat," * 300,
    "lines": "the cat\nsat on\tthe mat\n\n" * 200,
    "short": "a cat",
}


@pytest.mark.parametrize(
    "name",
    [
        "word pieces",
        "bytes",
        pytest.param(
            "unigram", marks=pytest.mark.slow(reason="tokenizes long texts whole, to compare")
        ),
    ],
)
def test_a_long_text_gives_the_tokens_of_the_whole_text(name: str) -> None:
    """What the tokenizer does not get to read changes no token, of texts or of pairs."""
    tokenizer = TOKENIZERS[name]()
    read = []

    class Counted:
        truncation_side = tokenizer.truncation_side

        def __call__(self, text: Any, pair: Any = None, **options: Any) -> Any:
            for given in (text, pair or ""):
                read.append(len(given) if isinstance(given, str) else sum(map(len, given)))
            return tokenizer(text, pair, **options)

    # Not each with each: what the tokenizer makes of two long texts whole is slow.
    pairs: list[tuple[str, str | None]] = [(one, None) for one in LONG.values()]
    for fixed in (LONG["words of one token"], LONG["lines"], LONG["short"]):
        pairs += [(one, fixed) for one in LONG.values()] + [(fixed, one) for one in LONG.values()]
    for one, other in pairs:
        example = Example(one, None, other)
        (batch,) = make_batches([example], (), tokenizer, ["input_ids"], MAX_TOKENS)
        whole = tokenizer(one, other, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        assert batch.tokens["input_ids"].tolist() == [whole], (one[:20], (other or "")[:20])
    text = WORDS * 4000  # 200 KB
    make_batches([Example(text)], (), Counted(), ["input_ids"], MAX_TOKENS)
    assert sum(read) < len(text) / 10
    read.clear()
    make_batches([Example(text, None, text)], (), Counted(), ["input_ids"], MAX_TOKENS)
    assert sum(read) < len(text) * 2.5  # each once, to know which is the longer


def test_a_pipe_is_not_waited_for(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_models: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
) -> None:
    for name in ("pipe.tsv", "pipe.txt"):
        os.mkfifo(tmp_path / name)
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    out = tmp_path / "task.osd.safetensors"
    device = ("--base", tiny_base, "--bundle", tiny_bundles[0])
    for arguments in (
        ("export", "task", *models, "--calibration", tmp_path / "pipe.txt", "-o", out),
        ("evaluate", *device, "--data", tmp_path / "pipe.tsv"),
    ):
        result = run_cli(capsys, *arguments)
        assert result.code == 1 and "[data.missing]" in result.err
        assert "Traceback" not in result.err and "not a file" in result.err


def test_a_link_to_a_file_is_read(tmp_path: Path, tiny_models: Path) -> None:
    link = tmp_path / "link.tsv"
    link.symlink_to(tiny_models / "examples.tsv")
    assert read_examples(link) == read_examples(tiny_models / "examples.tsv")


def test_what_is_not_there_is_missing_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code(path: Path) -> str:
        with pytest.raises(DataError) as refusal:
            examples_in(path)
        return refusal.value.code

    assert code(tmp_path / "nothing") == code(tmp_path / "no.tsv") == "data.missing"
    assert code(tmp_path / ("x" * 300)) == code(tmp_path / ("x" * 300 + ".tsv")) == "data.missing"
    assert code(Path("a\0.tsv")) == code(Path("a\0")) == "data.missing"
    (tmp_path / "a.parquet").touch()
    assert code(tmp_path / "a.parquet") == "data.kind"

    def closed(self: Path) -> Any:  # as for who is not root, in a folder of another's
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", closed)
    assert code(tmp_path / "a.parquet") == "data.missing"
