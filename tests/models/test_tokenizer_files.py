"""Tokenizers that are there but cannot be read are refused; none is dropped in silence."""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import transformers
from transformers import AutoTokenizer

from osd_edge.exporters import export_base
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.checkpoints import opening, refusal
from tests.support.command_line import run_cli
from tests.support.sentencepiece_models import write_unigram
from tests.support.spoiled import edit

TRANSFORMERS = int(transformers.__version__.split(".")[0])
HAS_SENTENCEPIECE = find_spec("sentencepiece") is not None
# The file's name in each family whose tokenizer is a model of SentencePiece.
SENTENCEPIECE = {
    "xlm-roberta": "sentencepiece.bpe.model",
    "deberta-v2": "spm.model",
    "albert": "spiece.model",
}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A base without any file of a tokenizer."""
    return strip(tiny.make_base("bert", tmp_path / "base"))


def strip(folder: Path) -> Path:
    for path in (*folder.glob("*token*"), *folder.glob("vocab*")):
        path.unlink()
    return folder


def refused(folder: Path) -> str:
    """The message with which an export of the base in `folder` is refused; it leaves nothing."""
    code, message = refusal(lambda: export_base(folder, folder.parent / "out"))
    assert code == "model.tokenizer" and not (folder.parent / "out").exists()
    return message


def test_a_base_without_files_of_a_tokenizer_has_none_and_says_so(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_tokenizer(Checkpoint(bare)) is None
    out = bare.parent / "out"
    assert export_base(bare, out).text is None
    words = ("export", "base", bare, "-o", out, "--overwrite")
    assert "no tokenizer came with the model" in run_cli(capsys, *words).out
    assert json.loads(run_cli(capsys, *words, "--json").out)["texts"] is False


def test_nothing_is_said_of_a_tokenizer_that_is_there_or_of_pictures(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-o", tmp_path / "out", "--overwrite")
    said = run_cli(capsys, "export", "base", models / "base", *words)
    assert said.code == 0 and "tokenizer" not in said.out
    pictures = tiny.make_base("vit", tmp_path / "vit")
    said = run_cli(capsys, "export", "base", pictures, *words)
    assert said.code == 0 and "tokenizer" not in said.out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer"}'),
        ("tokenizer_config.json", '{"tokenizer_class": "RobertaTokenizer"}'),
        ("tokenizer_config.json", "{}"),
        ("special_tokens_map.json", '{"unk_token": "[UNK]"}'),
        ("added_tokens.json", '{"[NEW]": 16}'),
        ("merges.txt", "#version: 0.2\na b\n"),
    ],
)
def test_settings_without_a_vocabulary_are_no_tokenizer(bare: Path, name: str, text: str) -> None:
    (bare / name).write_text(text)
    message = refused(bare)
    assert name in message and "no vocabulary" in message and "copy" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.json", '{"a": 0}'),  # whose merges are not there
        ("vocab.txt", ""),
        ("tokenizer.json", '{"version": "1.0", "model":'),
        ("tokenizer.model", "no model of SentencePiece"),
    ],
)
def test_a_vocabulary_that_is_not_whole_is_refused(bare: Path, name: str, text: str) -> None:
    (bare / name).write_text(text)
    message = refused(bare)
    assert any(what in message for what in ("save_pretrained", "pip install", "copy"))


def test_a_configuration_that_is_half_written_is_refused(models: Path) -> None:
    path = models / "base" / "tokenizer_config.json"
    path.write_text(path.read_text()[:-20])
    assert str(models / "base") in refused(models / "base")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("qwen.tiktoken", "pip install tiktoken"),
        ("tekken.json", "pip install mistral-common"),
    ],
)
def test_a_reader_that_is_not_installed_is_named(bare: Path, name: str, packages: str) -> None:
    module = {"qwen.tiktoken": "tiktoken", "tekken.json": "mistral_common"}[name]
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed here")
    (bare / name).write_text("IQ== 0\n")
    message = refused(bare)
    assert packages in message and name in message


@pytest.mark.parametrize("family", list(SENTENCEPIECE))
@pytest.mark.skipif(HAS_SENTENCEPIECE, reason="sentencepiece is installed here")
def test_models_of_sentencepiece_are_refused_where_it_is_missing(
    tmp_path: Path, family: str
) -> None:
    folder = strip(tiny.make_base(family, tmp_path / "base"))
    write_unigram(folder / SENTENCEPIECE[family])
    message = refused(folder)
    assert "pip install sentencepiece" in message and SENTENCEPIECE[family] in message


@pytest.mark.parametrize("family", ["xlm-roberta", "deberta-v2"])
@pytest.mark.skipif(not HAS_SENTENCEPIECE, reason="sentencepiece is not installed here")
def test_models_of_sentencepiece_make_their_own_tokens_or_none(tmp_path: Path, family: str) -> None:
    folder = strip(tiny.make_base(family, tmp_path / "base", vocab_size=64))
    path = write_unigram(folder / SENTENCEPIECE[family])
    if TRANSFORMERS >= 5:  # which makes blanks of what is no letter, and this model does not
        assert "transformers 4.57" in refused(folder)
        return
    own = import_module("sentencepiece").SentencePieceProcessor(model_file=str(path))
    tokenizer = load_tokenizer(Checkpoint(folder))
    for text in (*tiny.sentences(5), "a\nb\tc", "The Cät"):
        found = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).tokens
        assert found == own.encode(text, out_type=str)


# Of two models


def test_tokenizers_that_differ_in_their_decoder_alone_are_equal(models: Path) -> None:
    edit(models / "first" / "tokenizer.json", decoder={"type": "Fuse"})
    before = json.loads((models / "base" / "tokenizer.json").read_text())["decoder"]
    assert before != {"type": "Fuse"}
    opening(models)()


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "post_processor"])
def test_tokenizers_that_make_other_tokens_are_refused(models: Path, part: str) -> None:
    others = {
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
    }
    path = models / "first" / "tokenizer.json"
    assert json.loads(path.read_text())[part] != others[part]
    edit(path, **{part: others[part]})
    code, message = refusal(opening(models))
    assert code == "model.tokenizer" and "differs from the base's" in message


@pytest.mark.parametrize("charsmap", ["AAAAAA==", "/////w=="])
def test_a_tokenizer_whose_library_gives_up(tmp_path: Path, charsmap: str) -> None:
    base = tiny.make_base("bert", tmp_path / "base")
    damaged = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    edit(base / "tokenizer.json", normalizer=damaged)
    assert "save_pretrained" in refused(base)


BERT_PROCESSING: dict[str, object] = {
    "type": "BertProcessing",
    "cls": ["[CLS]", 2],
    "sep": ["[SEP]", 3],
}


@pytest.mark.parametrize("how", ["template", "bert", "sequence"])
@pytest.mark.parametrize("named", [["input_ids", "attention_mask"], None])
def test_types_of_a_pair_are_left_out_where_the_tokenizers_settings_do(
    tmp_path: Path, how: str, named: list[str] | None
) -> None:
    """Cross-encoders over BERT with another tokenizer than BERT's have such settings."""
    base = tiny.make_base("bert", tmp_path / "base")
    if how != "template":
        one = BERT_PROCESSING
        edit(
            base / "tokenizer.json",
            post_processor=one if how == "bert" else {"type": "Sequence", "processors": [one]},
        )
    if named is not None:
        edit(base / "tokenizer_config.json", model_input_names=named)
    export_base(base, tmp_path / "package")
    made = EdgeSession(tmp_path / "package").encode(["the cat sat"], ["a mat"])
    reference = AutoTokenizer.from_pretrained(base)(
        "the cat sat", "a mat", return_token_type_ids=named is None
    )
    types = reference.get("token_type_ids", [0] * len(reference["input_ids"]))
    assert made["input_ids"][0].tolist() == reference["input_ids"]
    assert made["token_type_ids"][0].tolist() == types
    assert any(types) == (named is None)


def test_types_that_one_of_two_tokenizers_leaves_out_are_named(models: Path) -> None:
    """Where models tell types apart: in DistilBERT there are none."""
    edit(models / "first" / "tokenizer_config.json", model_input_names=["input_ids"])
    code, message = refusal(opening(models))
    assert code == "model.tokenizer" and "model_input_names" in message


def test_a_model_without_types_takes_a_tokenizer_that_leaves_them_out(tmp_path: Path) -> None:
    base = tiny.make_base("distilbert", tmp_path / "base")
    tuned = tiny.make_tuned(base, tmp_path / "tuned", linear_only=True)
    edit(tuned / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    open_fine_tuned(base, tuned)
