"""Packages as they are in stock onnxruntime-genai: the tokens of a session, from every graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge.exporters import export_base
from osd_edge.runtime import EdgeSession
from tests.support import language_models, written_decoders
from tests.support.stock_genai import Stock, library, prompts, same, tokens_of
from tests.support.writers import Writer

COUNT = 12
GRAPHS = [
    ("llama", "fp32"),
    ("llama", "int8"),
    ("llama", "int4"),
    ("llama-own-head", "int4"),
    ("smollm3-window", "fp32"),
    ("qwen2", "fp32"),
    ("qwen3", "fp32"),
    ("mistral", "fp32"),
    ("gemma3", "fp32"),
    ("gemma3", "int4"),
    ("gpt2", "fp32"),
    ("gpt2", "int4"),
    ("opt-projected", "fp32"),
    ("phi-grouped", "fp32"),
]


@pytest.fixture(scope="module", autouse=True)
def genai() -> Any:
    return library()


def make_model(variant: str, folder: Path) -> None:
    if variant in written_decoders.VARIANTS:
        written_decoders.make_decoder(variant, folder)
    else:
        language_models.make_language_model(variant, folder)


@pytest.mark.parametrize(("variant", "weights"), GRAPHS)
def test_genai_writes_the_tokens_of_a_session(variant: str, weights: str, tmp_path: Path) -> None:
    make_model(variant, tmp_path / "model")
    package = tmp_path / "package"
    export_base(tmp_path / "model", package, task="generate", weights=weights)
    session, stock = EdgeSession(package, threads=1), Stock(package)
    for prompt in prompts(package):
        (answer,) = session.generate([prompt], max_tokens=COUNT)
        assert same(stock.answer(prompt, COUNT), answer, session)


def test_any_of_several_stop_tokens_ends_an_answer(tmp_path: Path) -> None:
    model = written_decoders.make_decoder("llama", tmp_path / "model")
    export_base(tmp_path / "model", tmp_path / "before", task="generate")
    session = EdgeSession(tmp_path / "before", threads=1)
    one, other = prompts(tmp_path / "before", 2)
    answers = [list(a.tokens) for a in session.generate([one, other], max_tokens=COUNT)]
    assert min(map(len, answers)) > 2
    model.generation_config.eos_token_id = [3, answers[0][2], answers[1][1]]
    model.save_pretrained(tmp_path / "model")
    export_base(tmp_path / "model", tmp_path / "package", task="generate")
    session, stock = EdgeSession(tmp_path / "package", threads=1), Stock(tmp_path / "package")
    for prompt in (one, other):
        (answer,) = session.generate([prompt], max_tokens=COUNT)
        found = stock.answer(prompt, COUNT)
        assert answer.ended == "stop" and same(found, answer, session)


def test_a_padding_token_in_a_prompt_is_a_token(tiny_llama: Writer) -> None:
    session, stock = EdgeSession(tiny_llama.package, threads=1), Stock(tiny_llama.package)
    pad = tiny_llama.tokenizer().pad_token_id
    (prompt,) = prompts(tiny_llama.package, 1)
    for padded in ([pad, *prompt], [*prompt, pad], [pad, 5, pad, pad, 9]):
        (answer,) = session.generate([padded], max_tokens=COUNT)
        assert same(stock.answer(padded, COUNT), answer, session)


@pytest.mark.parametrize("writer", ["tiny_llama", "tiny_gpt2"])
def test_a_second_turn_goes_on_from_the_keys_of_the_first(
    writer: str, request: pytest.FixtureRequest
) -> None:
    package = request.getfixturevalue(writer).package
    session = EdgeSession(package, threads=1)
    generator = Stock(package).generator(200)
    first, second = [41, 52, 63], [70, 80, 90, 100]
    generator.append_tokens(first)
    said = list(tokens_of(generator, 3))
    assert generator.token_count() == len(first) + len(said)  # no stop token among them
    # Of an answer that was cut short genai keeps no keys of the last token (docs/adapters.md).
    generator.rewind_to(len(first))
    generator.append_tokens([*said, *second])
    (answer,) = session.generate([[*first, *said, *second]], max_tokens=COUNT)
    assert same(list(tokens_of(generator, COUNT)), answer, session)


def test_rows_of_a_batch_are_padded_on_the_right(tiny_llama: Writer) -> None:
    session = EdgeSession(tiny_llama.package, threads=1)
    pad = tiny_llama.tokenizer().pad_token_id
    long, short = [40, 50, 60, 70, 80, 90], [45, 55]
    answers = session.generate([long, short], max_tokens=COUNT)
    generator = Stock(tiny_llama.package).generator(len(long) + COUNT, rows=2)
    generator.append_tokens(np.array([long, short + [pad] * 4], np.int32))
    count = min(len(answer.tokens) for answer in answers)
    assert count > 2
    found = []
    for _ in range(count):
        generator.generate_next_token()
        found.append(generator.get_next_tokens())
    assert np.array(found).T.tolist() == [list(a.tokens[:count]) for a in answers]


@pytest.mark.parametrize("writer", ["tiny_llama", "tiny_gpt2"])
def test_a_long_prompt_has_one_row_of_logits(writer: str, request: pytest.FixtureRequest) -> None:
    generator = Stock(request.getfixturevalue(writer).package).generator(200)
    generator.append_tokens(list(range(40, 140)))
    assert generator.get_output("logits").shape[1] == 1
