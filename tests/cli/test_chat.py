"""`osd-edge chat` through a pipe, in this process and in one of its own, and in a terminal."""

import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from osd_edge.cli.chat_commands import completions
from osd_edge.cli.talk import Style, Talk
from osd_edge.runtime import EdgeSession
from tests.support.command_line import Result, run_cli
from tests.support.signals import hear_ctrl_c
from tests.support.writers import CONTEXT, Writer, change_facts

Chat = Callable[..., Result]
MOST = 8


@pytest.fixture
def chat(
    tiny_llama: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Chat:
    """Talks through a pipe: the lines of `said`, with options, over `base`."""

    def talk(said: str, *options: object, base: Path = tiny_llama.package) -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        return run_cli(capsys, "chat", "--base", base, "--max-tokens", MOST, *options)

    return talk


def _bundles(writer: Writer) -> list[object]:
    return [x for path in writer.bundles for x in ("--bundle", path)]


def test_lines_are_the_turns_of_one_conversation(tiny_llama: Writer, chat: Chat) -> None:
    done = chat("the cat\n\non the mat\n", "--system", "under")
    talk = EdgeSession(tiny_llama.package).conversation(system="under")
    first, second = (talk.say(text, max_tokens=MOST).text for text in ("the cat", "on the mat"))
    assert (done.code, done.out, done.err) == (0, f"{first}\n{second}\n", "")
    alone = EdgeSession(tiny_llama.package).conversation(system="under")
    assert second != alone.say("on the mat", max_tokens=MOST).text  # and so the first counts


def test_a_swap_in_a_conversation_makes_its_keys_anew(tiny_llama: Writer, chat: Chat) -> None:
    said = "the cat\n/task task1\non\n/base\nunder\n/task task0\na dog\n"
    done = chat(said, *_bundles(tiny_llama))
    session = EdgeSession(tiny_llama.package)
    for path in tiny_llama.bundles:
        session.load(path)
    session.activate("task0")  # the first bundle's
    talk = session.conversation()
    expected = []
    for text, task in (("the cat", "task0"), ("on", "task1"), ("under", None), ("a dog", "task0")):
        if task is None:
            session.deactivate()
        else:
            session.activate(task)
        expected.append(talk.say(text, recompute=True, max_tokens=MOST).text)
    assert done.code == 0 and done.out == "".join(f"{text}\n" for text in expected)
    assert "task1 answers now: " in done.err and "are run again with the next line" in done.err


def test_a_swap_there_and_back_makes_no_keys_anew(tiny_llama: Writer, chat: Chat) -> None:
    done = chat("the cat\n/task task1\n/task task0\non\n", *_bundles(tiny_llama))
    there, back = (line for line in done.err.splitlines() if "answers now" in line)
    assert there.startswith("task1") and "are run again" in there
    assert back == "task0 answers now"


def test_turns_that_were_forgotten_are_told_once(tiny_llama: Writer) -> None:
    """An answer that is cancelled at once forgets nothing."""
    talk = Talk(EdgeSession(tiny_llama.package), Style(context=60), {"max_tokens": MOST})
    while not talk.forgotten:
        list(talk.stream("the cat sat on the mat", None))
    assert [piece.ended for piece in talk.stream("on", lambda: True)] == ["cancelled"]
    assert talk.forgotten == 0
    while not talk.forgotten:
        talk.whole("the cat sat on the mat", None)
    assert talk.whole("on", lambda: True).ended == "cancelled" and talk.forgotten == 0


def test_the_task_that_answers_first_may_be_named(tiny_llama: Writer, chat: Chat) -> None:
    session = EdgeSession(tiny_llama.package)
    session.load(tiny_llama.bundles[1])
    answer = session.conversation(task="task1").say("on", max_tokens=MOST)
    done = chat("on\n", *_bundles(tiny_llama), "--task", "task1")
    assert done.out == answer.text + "\n"


def test_with_json_each_line_is_answered_by_an_object(tiny_llama: Writer, chat: Chat) -> None:
    said = ("/task", "on", "/task task1", "/task elsewhere", "//on", "/stats", "/reset", "/stats")
    lines = (*said, "/help", "/exit", "never said")
    done = chat("\n".join(lines), "--json", *_bundles(tiny_llama))
    tasks, answer, swap, unknown, second, stats, reset, anew, commands = map(
        json.loads, done.out.splitlines()
    )
    session = EdgeSession(tiny_llama.package)
    for path in tiny_llama.bundles:
        session.load(path)
    session.activate("task0")
    talk = session.conversation()
    first = talk.say("on", max_tokens=MOST)
    assert (tasks["task"], tasks["tasks"]) == ("task0", ["task0", "task1"])
    assert (answer["prompt"], answer["text"]) == ("on", first.text)
    assert (answer["task"], answer["tokens"]) == ("task0", list(first.tokens))
    assert (answer["error"], answer["forgotten"]) == (None, 0)
    assert swap == {"command": "/task", "task": "task1", "error": None}
    assert (unknown["command"], unknown["error"]["code"]) == ("/task", "task.unknown")
    session.activate("task1")
    later = talk.say("/on", recompute=True, max_tokens=MOST)
    assert (second["task"], second["prompt"], second["text"]) == ("task1", "/on", later.text)
    assert (stats["task"], stats["answers"]) == ("task1", 2)
    assert stats["tokens"] == len(first.tokens) + len(later.tokens)
    assert stats["context_tokens"] == len(talk.tokens)
    each = session.manifest.generation
    assert each is not None
    assert stats["key_bytes"] == each.bytes_of_a_token * len(talk.tokens)
    assert stats["most_context_tokens"] == CONTEXT
    last = stats["last"]
    assert 0 < last["seconds_to_first"] < last["seconds"]
    assert last["tokens"] == len(later.tokens) and last["tokens_a_second"] > 0
    assert reset["command"] == "/reset" and anew["context_tokens"] == anew["key_bytes"] == 0
    assert set(commands["commands"]) == {"/task", "/base", "/stats", "/reset", "/help", "/exit"}
    assert done.code == 1  # since one was refused


def test_commands_of_a_pipe_leave_standard_output_to_answers(
    tiny_llama: Writer, chat: Chat
) -> None:
    done = chat("/stats\n/help\n/reset\n/task\n/task task0\n", "--bundle", tiny_llama.bundles[0])
    assert (done.code, done.out) == (0, "")
    assert "last answer     none so far" in done.err and "* task0" in done.err
    assert "/task [NAME]" in done.err
    done = chat("on\n/stats\n")
    assert re.search(r"last answer     \d tokens, the first after \d+\.\d\d s, [\d.]+ a", done.err)
    assert re.search(r"conversation    \d+ of 256 tokens\nmemory of keys  \d", done.err)


def test_a_refusal_ends_the_turn_and_no_more(tiny_llama: Writer, chat: Chat) -> None:
    talk = EdgeSession(tiny_llama.package).conversation()
    first, second = (talk.say(text, max_tokens=MOST).text for text in ("on", "under"))
    done = chat("on\n" + "x" * CONTEXT + "\n/nothing\n/stats now\nunder\n")
    assert (done.code, done.out) == (1, f"{first}\n{second}\n")
    codes = re.findall(r"\[([a-z.-]+)\]$", done.err, re.MULTILINE)
    assert codes == ["conversation.full", "input.options", "input.options"]
    done = chat("x" * CONTEXT + "\non\n", "--json")
    refused, answered = map(json.loads, done.out.splitlines())
    assert (refused["ended"], refused["error"]["code"]) == ("refused", "conversation.full")
    assert set(refused) == set(answered) and answered["text"] == first


def test_a_full_conversation_forgets_its_oldest_turns_and_says_so(
    tiny_llama: Writer, chat: Chat
) -> None:
    lines = [f"the cat {i} sat on the mat" for i in range(6)]
    talk = EdgeSession(tiny_llama.package).conversation(max_tokens=100, when_full="drop")
    expected = [talk.say(line, max_tokens=MOST).text for line in lines]
    assert len(talk.messages) < 2 * len(lines)
    done = chat("\n".join(lines), "--context", 100)
    assert (done.code, done.out) == (0, "".join(f"{text}\n" for text in expected))
    assert "(the oldest turns were forgotten for want of room: 1)" in done.err
    done = chat("\n".join(lines), "--context", 100, "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert sum(answer["forgotten"] for answer in answers) == len(lines) - len(talk.messages) // 2


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_each_line_may_be_a_conversation_of_its_own(
    tiny_llama: Writer, chat: Chat, options: tuple[str, ...]
) -> None:
    said = [{"role": "system", "content": "under"}, {"role": "user", "content": "on"}]
    (answer,) = EdgeSession(tiny_llama.package).generate([said], max_tokens=MOST)
    done = chat("the cat\non\n/stats\n", "--single", "--system", "under", *options)
    if options:
        _, second, stats = map(json.loads, done.out.splitlines())
        assert second["text"] == answer.text
        assert stats["context_tokens"] is None and stats["key_bytes"] is None
    else:
        assert done.out.splitlines()[-1] == answer.text
        assert "none: each line stands for itself" in done.err


@pytest.mark.parametrize(
    ("options", "form"),
    [(("--raw",), "{}"), (("--form", "<|im_start|>{}\n"), "<|im_start|>{}\n")],
    ids=["raw", "form"],
)
def test_lines_may_be_prompts_in_the_form_that_a_task_was_trained_on(
    tiny_llama: Writer, chat: Chat, options: tuple[str, ...], form: str
) -> None:
    session = EdgeSession(tiny_llama.package)
    session.activate(session.load(tiny_llama.bundles[0]))
    prompts = [form.replace("{}", text) for text in ("the cat", "on {}")]
    expected = [answer.text for answer in session.generate(prompts, max_tokens=MOST)]
    done = chat("the cat\non {}\n", *options, "--bundle", tiny_llama.bundles[0])
    assert done.out == "".join(f"{text}\n" for text in expected)
    done = chat("the cat\non {}\n", *options, "--bundle", tiny_llama.bundles[0], "--json")
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == expected


def test_a_model_without_conversations_takes_prompts(
    tiny_llama: Writer, chat: Chat, tmp_path: Path
) -> None:
    package = shutil.copytree(tiny_llama.package, tmp_path / "untaught")
    change_facts(package, chat=None)
    expected = EdgeSession(package).generate(["the cat", "on"], max_tokens=MOST)
    done = chat("the cat\non\n", base=package)
    assert (done.code, done.out) == (0, "".join(f"{answer.text}\n" for answer in expected))
    for asked in (("--system", "x"), ("--single",), ("--context", "9")):
        done = chat("on\n", *asked, base=package)
        assert done.code == 1 and "[base.chat]" in done.err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--raw", "--system", "x"), "input.options"),
        (("--form", "{}", "--single"), "input.options"),
        (("--raw", "--context", "9"), "input.options"),
        (("--form", "without"), "input.options"),
        (("--form", "{} and {}"), "input.options"),
        (("--task", "elsewhere"), "task.unknown"),
    ],
)
def test_what_no_talk_can_begin_with_is_refused(
    chat: Chat, options: tuple[str, ...], code: str
) -> None:
    done = chat("on\n", *options)
    assert (done.code, done.out) == (1, "") and f"[{code}]" in done.err


def test_a_base_that_writes_nothing_is_refused(
    chat: Chat, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    for options in ((), ("--raw",)):
        assert "[base.generation]" in chat("on\n", *options, base=tiny_base).err
    done = chat("on\n", "--bundle", tiny_bundles[0], base=tiny_base)
    assert done.code == 1 and "[task.kind]" in done.err


def test_words_of_the_session_are_options(tiny_llama: Writer, chat: Chat) -> None:
    words: dict[str, Any] = {"temperature": 0.9, "top_k": 20, "seed": 4}
    talk = EdgeSession(tiny_llama.package).conversation()
    answer = talk.say("on", max_tokens=MOST, **words)
    options = [x for k, v in words.items() for x in (f"--{k.replace('_', '-')}", v)]
    assert chat("on\n", *options).out == answer.text + "\n"
    assert chat("on\n").out != answer.text + "\n"


def test_a_tab_completes_commands_and_tasks(tiny_llama: Writer) -> None:
    session = EdgeSession(tiny_llama.package)
    for path in tiny_llama.bundles:
        session.load(path)
    talk = Talk(session, Style(), {})
    assert completions(talk, "/s") == ["/stats"]
    assert completions(talk, "/task t") == ["/task task0", "/task task1"]
    assert completions(talk, "the cat") == []


# A program talks through pipes


def _command(writer: Writer, *options: object) -> list[str]:
    code = "from osd_edge.cli.main import main; main()"
    command = [sys.executable, "-c", code, "chat", "--base", writer.package]
    return [str(word) for word in (*command, "--max-tokens", MOST, *options)]


def _pipes(writer: Writer, *options: object) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(_command(writer, *options), stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_program_has_its_answer_before_it_says_more(tiny_llama: Writer) -> None:
    talk = EdgeSession(tiny_llama.package).conversation()
    with _pipes(tiny_llama, "--json") as process:
        assert process.stdin is not None and process.stdout is not None
        for text in ("the cat", "on"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer["text"] == talk.say(text, max_tokens=MOST).text
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 0


def test_bytes_that_are_no_text_are_refused_and_the_next_line_is_answered(
    tiny_llama: Writer,
) -> None:
    with _pipes(tiny_llama) as process:
        out, err = process.communicate(b"\xff\xfe\non\r\n", timeout=60)
    answer = EdgeSession(tiny_llama.package).conversation().say("on", max_tokens=MOST)
    assert process.returncode == 1 and err.decode().count("\n") == 1
    assert "[input.texts]" in err.decode()
    assert out == answer.text.encode() + b"\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes break so on POSIX alone")
def test_a_pipe_that_nobody_reads_any_more_ends_the_talk_quietly(tiny_llama: Writer) -> None:
    with _pipes(tiny_llama) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"the cat\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"on\nunder\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


# A person talks in a terminal


class Terminal:
    """A talk in a terminal of its own: what is typed, and what is there to be read."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self.process = process
        self._ours = ours
        self.seen = ""

    def type(self, keys: str) -> None:
        """Types keys, once all that came before was read."""
        os.write(self._ours, keys.encode())

    def wait_for(self, words: str) -> str:
        """Reads until these words come; gives what stands before and up to them."""
        deadline = time.monotonic() + 60
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._ours], [], [], 1)[0]:
                try:
                    self.seen += os.read(self._ours, 4096).decode(errors="replace")
                except OSError:  # the other end was closed
                    assert words in self.seen, self.seen
        before, _, self.seen = self.seen.partition(words)
        return before + words

    def left_by(self, keys: str) -> int:
        """Types keys until the talk is left; gives the exit code.

        Python's readline does not notice a Ctrl-C between its prompt and its waiting for keys, so
        that it has to be pressed again. A terminal waits until its last words are read.
        """
        began, typed = time.monotonic(), 0
        while self.process.poll() is None:
            waited = time.monotonic() - began
            assert waited < 60, self.seen
            if waited >= 10 * typed:
                self.type(keys)
                typed += 1
            if select.select([self._ours], [], [], 0.1)[0]:
                with suppress(OSError):
                    self.seen += os.read(self._ours, 4096).decode(errors="replace")
        return self.process.returncode


@contextmanager
def terminal(writer: Writer, *options: object, script: str | None = None) -> Iterator[Terminal]:
    """Starts a talk in a terminal, with Ctrl-C as terminals send it."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    command = _command(writer, *options)
    if script is not None:
        command[2] = script
    environment = {**os.environ, "TERM": "dumb", "INPUTRC": os.devnull}

    def own_terminal() -> None:
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        hear_ctrl_c()

    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=own_terminal,
        env=environment,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(60)
        os.close(ours)


in_a_terminal = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


@in_a_terminal
def test_a_person_is_prompted_and_leaves_with_ctrl_d(tiny_llama: Writer) -> None:
    session = EdgeSession(tiny_llama.package)
    session.activate(session.load(tiny_llama.bundles[0]))
    text = session.conversation().say("on", max_tokens=2).text
    printable = (c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    as_in_a_terminal = "".join(printable).replace("\n", "\r\n")
    with terminal(tiny_llama, "--bundle", tiny_llama.bundles[0], "--max-tokens", 2) as talk:
        assert "with task0; /help lists commands" in talk.wait_for("task0> ")
        talk.type("on\n")
        shown = talk.wait_for("task0> ")
        assert f"on\r\n{as_in_a_terminal}\r\n" in shown
        assert "(as long as --max-tokens allows)" in shown
        talk.type("/ba\t\n")  # completed
        assert "the base alone answers now" in talk.wait_for("base> ")
        talk.type("/nothing\n")
        assert "[input.options]" in talk.wait_for("base> ")
        talk.type("\x10\n")  # the line before, once more
        assert "[input.options]" in talk.wait_for("base> ")
        assert talk.left_by("\x04") == 0


# An answer that never ends by itself, of which each token takes a while.
_ENDLESS = """
import time
from osd_edge.cli.main import main
from osd_edge.runtime.generation.answer_row import AnswerRow
advance = AnswerRow.advance
def slow(self, logits, stop_ids):
    time.sleep(0.02)
    if len(self.answer) == 5:
        print("five tokens", flush=True)
    return advance(self, logits, ())
AnswerRow.advance = slow
main()
"""


@in_a_terminal
def test_ctrl_c_ends_an_answer_and_keeps_the_conversation(tiny_llama: Writer) -> None:
    with terminal(tiny_llama, "--max-tokens", 200, script=_ENDLESS) as talk:
        talk.wait_for("base> ")
        talk.type("the cat\n")
        talk.wait_for("five tokens")
        talk.type("\x03")
        assert "(cancelled)" in talk.wait_for("base> ")
        talk.type("/stats\n")
        stats = talk.wait_for("base> ")
        found = re.search(r"all answers +1, (\d+) tokens", stats)
        assert found is not None and 5 <= int(found[1]) < 200
        used = re.search(r"conversation +(\d+) of", stats)
        assert used is not None and int(used[1]) > int(found[1])
        assert talk.left_by("\x03") == 0


@in_a_terminal
def test_ctrl_c_at_the_prompt_leaves(tiny_llama: Writer) -> None:
    with terminal(tiny_llama, "--json") as talk:
        talk.wait_for("base> ")
        talk.type("on\n")
        assert '"prompt": "on"' in talk.wait_for("base> ")
        assert talk.left_by("\x03") == 0
