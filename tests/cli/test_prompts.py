"""`osd-edge run --prompt`: answers as they come, an object for each row with --json."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osd_edge.runtime import EdgeSession
from tests.support.command_line import run_cli
from tests.support.writers import CONTEXT, Writer

Capture = pytest.CaptureFixture[str]


def _written(writer: Writer, capsys: Capture, *options: object) -> Any:
    return run_cli(capsys, "run", "--base", writer.package, "--max-tokens", 8, *options)


def test_a_prompt_is_answered_by_the_base_and_by_a_task(
    tiny_llama: Writer, capsys: Capture
) -> None:
    session = EdgeSession(tiny_llama.package)
    session.load(tiny_llama.bundles[0])
    base, task = (session.generate(["the cat"], task=t, max_tokens=8)[0] for t in (None, "task0"))
    done = _written(tiny_llama, capsys, "--prompt", "the cat")
    assert (done.code, done.out) == (0, base.text + "\n")
    done = _written(tiny_llama, capsys, "--prompt", "the cat", "--bundle", tiny_llama.bundles[0])
    assert (done.code, done.out) == (0, task.text + "\n")


def test_several_prompts_and_tasks_stand_below_each_other(
    tiny_llama: Writer, capsys: Capture
) -> None:
    bundles = [x for path in tiny_llama.bundles for x in ("--bundle", path)]
    done = _written(tiny_llama, capsys, *bundles, "--prompt", "on", "--prompt", "a dog")
    heads = [line for line in done.out.splitlines() if line.startswith("[task")]
    assert heads == ["[task0] on", "[task0] a dog", "[task1] on", "[task1] a dog"]


def test_with_json_every_row_is_an_object(tiny_llama: Writer, capsys: Capture) -> None:
    options = ("--json", "--prompt", "the cat", "--prompt", "x" * CONTEXT, "--prompt", "on")
    done = _written(tiny_llama, capsys, *options)
    first, long, last = map(json.loads, done.out.splitlines())
    assert done.code == 1  # since one was refused
    session = EdgeSession(tiny_llama.package)
    for line, prompt in ((first, "the cat"), (last, "on")):
        answer = session.generate([prompt], max_tokens=8)[0]
        assert (line["prompt"], line["text"], line["tokens"]) == (
            prompt,
            answer.text,
            list(answer.tokens),
        )
        assert (line["ended"], line["task"], line["error"]) == ("length", None, None)
        assert line["prompt_tokens"] == answer.prompt_tokens and line["seconds"] > 0
    assert (long["ended"], long["error"]["code"]) == ("refused", "input.context")
    assert _written(tiny_llama, capsys, "--json", "--prompt", "on").code == 0


def test_words_of_the_session_are_options(tiny_llama: Writer, capsys: Capture) -> None:
    words: dict[str, Any] = {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "min_p": 0.01}
    words |= {"repetition_penalty": 1.2, "seed": 4}
    options = [x for k, v in words.items() for x in (f"--{k.replace('_', '-')}", v)]
    session = EdgeSession(tiny_llama.package)
    answer = session.generate(["the cat"], max_tokens=8, **words)[0]
    assert answer.tokens != session.generate(["the cat"], max_tokens=8)[0].tokens
    done = _written(tiny_llama, capsys, "--json", "--prompt", "the cat", *options)
    assert json.loads(done.out)["tokens"] == list(answer.tokens)
    stop = ("--stop", answer.text[2:4])
    done = _written(tiny_llama, capsys, "--json", "--prompt", "the cat", *options, *stop)
    assert json.loads(done.out)["ended"] == "stop"


def test_a_prompt_may_be_what_a_user_says(tiny_llama: Writer, capsys: Capture) -> None:
    session = EdgeSession(tiny_llama.package)
    said = {"role": "user", "content": "on"}
    system = {"role": "system", "content": "under"}
    for options, messages in ((["--chat"], [said]), (["--system", "under"], [system, said])):
        done = _written(tiny_llama, capsys, "--json", "--prompt", "on", *options)
        expected = session.generate([messages], max_tokens=8)[0]
        assert json.loads(done.out)["tokens"] == list(expected.tokens)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "input.options"),
        (("--prompt", "x", "--text", "x"), "input.options"),
        (("--text", "x"), "input.options"),
        (("--prompt", ""), "input.prompt"),
        (("--prompt", "x", "--task", "elsewhere"), "task.unknown"),
        (("--prompt", "x", "--question", "who?"), "input.options"),
        (("--prompt", "x", "--max-length", "9"), "input.options"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    tiny_llama: Writer, options: tuple[str, ...], code: str, capsys: Capture
) -> None:
    done = _written(tiny_llama, capsys, *options)
    assert done.code == 1 and f"[{code}]" in done.err


def test_options_of_prompts_are_refused_without_one(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], capsys: Capture
) -> None:
    texts = ("--bundle", tiny_bundles[0], "--text", "on")
    assert run_cli(capsys, "run", "--base", tiny_base, *texts).code == 0
    for vain in (["--chat"], ["--system", "x"], ["--max-tokens", 3], ["--seed", 1]):
        done = run_cli(capsys, "run", "--base", tiny_base, *texts, *vain)
        assert "[input.options]" in done.err and str(vain[0]) in done.err
    prompt = ("--prompt", "on")
    assert "[base.generation]" in run_cli(capsys, "run", "--base", tiny_base, *prompt).err


def test_text_is_there_before_the_answer_is_at_its_end(tiny_llama: Writer) -> None:
    """The reader sees the first piece while the writer still waits for the next."""
    script = """
import sys
from osd_edge.cli.main import main
from osd_edge.runtime import EdgeSession, Piece
def generate(*_, **__):
    yield Piece(0, "first ")
    sys.stdin.readline()
    yield Piece(0, "second", ended="stop")
EdgeSession.generate = generate
main()
"""
    command = [sys.executable, "-c", script, "run", "--base", str(tiny_llama.package)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command, "--prompt", "on"], **pipes) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.read(6) == b"first "
        out, _ = process.communicate(b"\n", timeout=60)
    assert (process.returncode, out) == (0, b"second\n")


def test_a_terminal_is_shown_no_control_codes(
    tiny_llama: Writer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osd_edge.cli import prompts

    assert prompts.for_terminal("a\x1b[2J") == "a\x1b[2J"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert prompts.for_terminal("a\x1b[2J\n猫") == "a\\x1b[2J\n猫"


def test_a_prompt_that_is_refused_leaves_the_others_their_answers(
    tiny_llama: Writer, capsys: Capture
) -> None:
    done = _written(tiny_llama, capsys, "--prompt", "", "--prompt", "on")
    assert done.code == 1 and "[input.prompt]" in done.err
    (answer,) = EdgeSession(tiny_llama.package).generate(["on"], max_tokens=8)
    assert answer.text in done.out


def test_scores_are_not_for_tasks_that_write(
    tiny_llama: Writer, capsys: Capture, tmp_path: Path
) -> None:
    data = tmp_path / "test.jsonl"
    data.write_text("{}\n")
    package, bundle = tiny_llama.package, tiny_llama.bundles[0]
    done = run_cli(capsys, "evaluate", "--base", package, "--bundle", bundle, "--data", data)
    assert done.code == 1 and "[task.kind]" in done.err
