"""Texts without any token, and tokens without a row in the model, as transformers has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from osd_edge.errors import InputError
from osd_edge.exporters import export_base, export_task
from osd_edge.runtime import EdgeSession
from tests.support import tiny

TEXTS = ["the cat", "a dog sat on the mat"]


def _plain_tokenizer(folder: Path, **special: str) -> PreTrainedTokenizerFast:
    """Saves the tokenizer of the known words, without one that adds tokens around a text."""
    tiny.save_tokenizer(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = tokenizers.processors.Sequence([])
    (folder / "tokenizer_config.json").unlink()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]", **special)
    made.save_pretrained(folder)
    return made


def _classifier(folder: Path, **special: str) -> tuple[Path, Path]:
    base = tiny.make_base("gpt2", folder / "base")
    tuned = tiny.make_tuned(base, folder / "tuned", linear_only=True)
    for model in (base, tuned):
        _plain_tokenizer(model, **special)
    return base, tuned


def _session(folder: Path, base: Path, tuned: Path, **options: Any) -> EdgeSession:
    export_base(base, folder / "package")
    bundle = folder / "t.osd.safetensors"
    export_task(base, tuned, bundle, method="truncsvd", budget="r=32", **options)
    session = EdgeSession(folder / "package", threads=1)
    session.activate(session.load(bundle))
    return session


def _scores(session: EdgeSession, texts: list[str]) -> np.ndarray[Any, Any]:
    return np.array([list(answer.scores.values()) for answer in session.classify(texts)])


def _transformers(tuned: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    tokens = PreTrainedTokenizerFast.from_pretrained(tuned)(
        texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    scores: np.ndarray[Any, Any] = logits.softmax(-1).numpy()
    return scores


def test_an_empty_text_without_any_token_has_one_answer_in_every_batch(tmp_path: Path) -> None:
    base, tuned = _classifier(tmp_path, pad_token="[PAD]")
    session = _session(tmp_path, base, tuned)
    alone = _scores(session, [""])
    for texts in (["", ""], ["", *TEXTS], [*TEXTS, ""]):
        row = texts.index("")
        assert np.allclose(_scores(session, texts)[row], alone[0], atol=1e-5)
    # Of a row that is all padding transformers gives another answer in every batch too; this is
    # its answer to one token of padding that counts.
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[0]]), attention_mask=torch.tensor([[1]])).logits
    assert np.allclose(alone, logits.softmax(-1).numpy(), atol=1e-4)


@pytest.mark.parametrize("calibrated", [False, True])
def test_padding_that_the_model_has_no_row_for(tmp_path: Path, calibrated: bool) -> None:
    """`add_special_tokens({"pad_token": …})` without `resize_token_embeddings`."""
    base, tuned = _classifier(tmp_path, pad_token="<pad>")
    assert PreTrainedTokenizerFast.from_pretrained(tuned).pad_token_id == 4 + len(tiny.WORDS)
    options: dict[str, Any] = {}
    if calibrated:
        options = {"calibration": tiny.write_tsv(tmp_path / "rows.tsv")}
    session = _session(tmp_path, base, tuned, **options)
    expected = np.concatenate([_transformers(tuned, [text]) for text in TEXTS])
    assert np.allclose(_scores(session, TEXTS), expected, atol=1e-4)


def test_a_token_that_the_model_has_no_row_for_is_told_for_what_it_is(tmp_path: Path) -> None:
    base, tuned = _classifier(tmp_path, pad_token="[PAD]")
    for model in (base, tuned):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
        tokenizer.add_tokens(["zebra"])
        tokenizer.save_pretrained(model)
    session = _session(tmp_path, base, tuned)
    session.classify(TEXTS)
    with pytest.raises(
        InputError, match="no row for a token id, a token type or a position"
    ) as refused:
        session.classify(["the zebra sat"])
    assert refused.value.code == "input.run" and "the model was not given" in str(refused.value)
