"""From the command line to stock onnxruntime-genai: texts in, and the tokens of a session."""

import json
from pathlib import Path
from typing import Any

import pytest

from osd_edge.runtime import EdgeSession
from tests.support.command_line import run_cli
from tests.support.stock_genai import Stock, library, same
from tests.support.writers import Writer

COUNT = 10
MESSAGES = [{"role": "user", "content": "the cat sat on the mat"}]


@pytest.fixture(autouse=True)
def genai() -> Any:
    return library()


def test_an_app_runs_what_the_commands_wrote(
    tiny_llama: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, package = tiny_llama.model, tmp_path / "package"
    bundle, adapter = tmp_path / "task0.osd.safetensors", tmp_path / "task0.onnx_adapter"
    written = run_cli(
        *(capsys, "export", "base", model, "--task", "generate", "--weights", "int8"),
        *("-o", package),
    )
    assert written.code == 0, written.err
    assert "onnxruntime-genai opens it, and takes texts" in written.out
    tuned = ("--tuned", model.with_name("task0"), "--method", "truncsvd", "--budget", "r=64")
    assert run_cli(capsys, "export", "task", "--base", model, *tuned, "-o", bundle).code == 0
    told = run_cli(capsys, "export", "adapter", bundle, "--base", package, "-o", adapter, "--json")
    assert set(json.loads(told.out)["files"]) == {str(adapter), str(tmp_path / "task0.head.json")}

    session = EdgeSession(package, threads=1)
    session.load(bundle)
    stock = Stock(package, {"task0": adapter})
    tokenizer = library().Tokenizer(stock.model)
    prompt = tokenizer.apply_chat_template(json.dumps(MESSAGES))
    answers = {}
    for task in (None, "task0", None):
        answers[task] = stock.answer(tokenizer.encode(prompt).tolist(), COUNT, task)
        (answer,) = session.generate([MESSAGES], task=task, max_tokens=COUNT)
        assert same(answers[task], answer, session)
        assert answer.prompt_tokens == len(tokenizer.encode(prompt))
    assert answers["task0"] != answers[None]


def test_a_base_whose_tokenizer_genai_reads_otherwise_takes_token_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support import decoders

    base = decoders.make_decoder("llama", tmp_path / "base")  # its tokenizer knows whole words
    arguments = ("export", "base", base, "--task", "generate", "-o", tmp_path / "package")
    told = json.loads(run_cli(capsys, *arguments, "--json").out)
    assert told["genai"] == "token ids"
    stock = Stock(tmp_path / "package")
    with pytest.raises(RuntimeError, match=r"tokenizer_config\.json"):
        library().Tokenizer(stock.model)
    assert stock.answer([4, 5, 6], 3)
