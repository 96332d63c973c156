"""Conversations: keys that belong to one task, limits, threads, and what a refusal leaves."""

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osd_edge import (
    BaseError,
    Code,
    ConversationError,
    OsdEdgeError,
    read_bundle_file,
    write_bundle,
)
from osd_edge.errors import TaskError
from osd_edge.formats.package.chat import Message
from osd_edge.runtime import Conversation, EdgeSession, GeneratedText
from osd_edge.runtime.generation.conversation_limits import ConversationLimits
from osd_edge.runtime.generation.key_cache import KeyCache
from osd_edge.runtime.generation.loop import write
from osd_edge.runtime.open_base import OpenBase
from tests.support.writers import Writer

SAID = ("the cat", "a dog 猫", "on")


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def writer(request: pytest.FixtureRequest) -> Writer:
    made: Writer = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def session(writer: Writer) -> EdgeSession:
    session = EdgeSession(writer.package, threads=1)
    for path in writer.bundles:
        session.load(path)
    return session


def asked_anew(session: EdgeSession, talk: Conversation, task: str | None) -> GeneratedText:
    """The answer to what was said last, from no keys at all."""
    return session.generate([talk.messages[:-1]], task=task, max_tokens=8)[0]


def refusal(talk: Conversation, text: str = "on", **more: Any) -> OsdEdgeError:
    with pytest.raises(OsdEdgeError) as refused:
        talk.say(text, max_tokens=4, **more)
    return refused.value


def test_every_answer_is_that_of_the_whole_conversation(session: EdgeSession) -> None:
    for task in ("task0", None):
        talk = session.conversation(task=task, system="under the bird")
        for text in SAID:
            answer = talk.say(text, max_tokens=8)
            anew = asked_anew(session, talk, task)
            assert (answer.tokens, answer.text) == (anew.tokens, anew.text)
            assert answer.prompt_tokens == anew.prompt_tokens
            assert talk.tokens[anew.prompt_tokens :] == answer.tokens
        assert [message["role"] for message in talk.messages] == [
            "system",
            *["user", "assistant"] * len(SAID),
        ]
        assert (talk.task, talk.digest is None) == (task, task is None)


def test_what_was_said_before_is_not_run_again(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[int] = []
    for kind in KeyCache.__subclasses__():
        fill = kind.fill

        def counted(self: Any, first: int, tokens: Any, factors: Any, fill: Any = fill) -> Any:
            filled.append(sum(map(len, tokens)))
            return fill(self, first, tokens, factors)

        monkeypatch.setattr(kind, "fill", counted)
    talk = session.conversation(task=None)
    talk.say("x" * 60, max_tokens=1)
    talk.say("on", max_tokens=1)
    assert filled[1] < filled[0] / 2


def test_keys_of_another_task_would_have_given_other_text(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the binding to digests broken, a swap answers from foreign keys: what must not be."""
    right = session.conversation()
    session.activate("task0")
    right.say(SAID[0], max_tokens=8, recompute=True)
    session.activate("task1")
    fresh = right.say(SAID[1], max_tokens=8, recompute=True)
    assert fresh.tokens == asked_anew(session, right, "task1").tokens

    stale = session.conversation()
    session.activate("task0")
    stale.say(SAID[0], max_tokens=8, recompute=True)
    session.activate("task1")
    monkeypatch.setattr("osd_edge.runtime.task.DecodedTask.digest", stale.digest)
    assert stale.say(SAID[1], max_tokens=8).tokens != fresh.tokens


def test_a_swap_refuses_until_it_is_undone_or_keys_are_made_anew(session: EdgeSession) -> None:
    session.activate("task0")
    talk = session.conversation()
    talk.say(SAID[0], max_tokens=8)
    before = talk.messages, talk.tokens, talk.digest
    swaps: list[Callable[[], None]] = [lambda: session.activate("task1"), session.deactivate]
    for swap in swaps:
        swap()
        assert refusal(talk).code == "conversation.task"
        assert (talk.messages, talk.tokens, talk.digest) == before
    session.activate("task0")
    talk.say(SAID[1], max_tokens=8)
    session.activate("task1")
    answer = talk.say(SAID[2], max_tokens=8, recompute=True)
    assert talk.task == "task1" and answer.task == "task1"
    assert answer.tokens == asked_anew(session, talk, "task1").tokens


def test_another_bundle_by_the_task_s_name_is_another_task(
    writer: Writer, session: EdgeSession
) -> None:
    talk = session.conversation(task="task0")
    talk.say(SAID[0], max_tokens=8)
    session.unload("task0")
    assert refusal(talk).code == "conversation.task"
    assert refusal(talk, recompute=True).code == "conversation.task"
    session.load(writer.bundles[1], "task0")
    assert refusal(talk).code == "conversation.task"
    answer = talk.say(SAID[1], max_tokens=8, recompute=True)
    assert answer.tokens == asked_anew(session, talk, "task0").tokens
    session.unload("task0")
    session.load(writer.bundles[1], "task0")  # the same bytes: keys are still its own
    talk.say(SAID[2], max_tokens=8)


def test_a_task_that_is_named_is_kept_whatever_is_active(session: EdgeSession) -> None:
    talk = session.conversation(task="task0")
    session.activate("task1")
    assert talk.say(SAID[0], max_tokens=4).task == "task0"


def test_a_full_conversation_is_refused_and_stays_as_it_was(session: EdgeSession) -> None:
    talk = session.conversation(max_tokens=60)
    with pytest.raises(ConversationError) as refused:
        for _ in range(9):
            before = talk.messages
            talk.say(SAID[0], max_tokens=8)
            assert len(talk.tokens) <= 60
    assert refused.value.code == "conversation.full"
    assert talk.messages == before and len(before) >= 4


def test_the_oldest_turns_are_dropped_where_that_is_asked_for(session: EdgeSession) -> None:
    facts = session.manifest.generation
    assert facts is not None
    size = 80 * facts.bytes_of_a_token
    talk = session.conversation(system="under", max_bytes=size, when_full="drop")
    longest = 0
    for _ in range(8):
        answer = talk.say(SAID[0], max_tokens=8)
        longest = max(longest, len(talk.messages))
        assert len(talk.tokens) <= 80
        assert answer.tokens == asked_anew(session, talk, None).tokens
    assert longest > len(talk.messages) or len(talk.messages) < 17
    assert talk.messages[0] == {"role": "system", "content": "under"}
    assert talk.messages[1]["role"] == "user"
    assert refusal(talk, "x" * 90).code == "conversation.full"


def test_a_stream_that_is_closed_leaves_what_came_of_it(session: EdgeSession) -> None:
    talk = session.conversation(task="task0")
    stream = talk.say(SAID[0], max_tokens=12, stream=True)
    text = next(stream).text + next(stream).text
    assert refusal(talk).code == "conversation.busy"
    with pytest.raises(ConversationError):
        talk.save(Path("no-such-folder/talk"))
    stream.close()  # type: ignore[attr-defined]
    assert talk.messages[-1] == {"role": "assistant", "content": text}
    answer = talk.say(SAID[1], max_tokens=8)
    assert answer.tokens == asked_anew(session, talk, "task0").tokens


def test_an_answer_that_is_cancelled_at_once_leaves_nothing(session: EdgeSession) -> None:
    talk = session.conversation()
    assert talk.say(SAID[0], cancel=lambda: True).ended == "cancelled"
    assert talk.messages == [] and talk.tokens == ()
    assert talk.say(SAID[0], max_tokens=4).tokens == asked_anew(session, talk, None).tokens[:4]


def test_an_answer_that_is_not_finite_leaves_the_conversation_as_it_was(
    writer: Writer, session: EdgeSession, tmp_path: Path
) -> None:
    bundle = read_bundle_file(writer.bundles[0])
    sites: list[Any] = list(bundle.sites)
    large = [replace(site, u=replace(site.u, values=site.u.values * 1e30)) for site in sites]
    path = tmp_path / "large.osd.safetensors"
    path.write_bytes(write_bundle(replace(bundle, task="large", sites=tuple(large))))
    session.activate("task0")
    talk = session.conversation()
    talk.say(SAID[0], max_tokens=8)
    before = talk.messages, talk.tokens, talk.digest
    session.activate(session.load(path))
    assert refusal(talk, recompute=True).code == "task.not-finite"
    assert (talk.messages, talk.tokens, talk.digest) == before
    session.activate("task0")
    answer = talk.say(SAID[1], max_tokens=8)
    assert answer.tokens == asked_anew(session, talk, "task0").tokens


def test_a_run_that_fails_leaves_a_conversation_that_can_be_saved(
    session: EdgeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise BaseError(Code.BASE_DIGEST, "the weights were written to")

    talk = session.conversation()
    talk.say(SAID[0], max_tokens=8)
    with monkeypatch.context() as broken:
        broken.setattr(OpenBase, "check_weights", fail)
        assert refusal(talk).code == "base.digest"
    talk.save(tmp_path / "talk")
    again = session.restore_conversation(tmp_path / "talk")
    assert again.messages == talk.messages
    answer = again.say(SAID[1], max_tokens=8)
    assert answer.tokens == talk.say(SAID[1], max_tokens=8).tokens
    assert answer.tokens == asked_anew(session, talk, None).tokens


def test_a_conversation_keeps_neither_a_closed_session_nor_a_task_in_memory(
    session: EdgeSession,
) -> None:
    talk = session.conversation(task="task0")
    talk.say(SAID[0], max_tokens=4)
    task = weakref.ref(session._parts.tasks.resolve("task0"))
    session.unload("task0")
    assert task() is None
    base = weakref.ref(session._parts.base)
    session.close()
    assert base() is None and len(talk.messages) == 2


def test_a_text_that_is_no_unicode_is_refused(session: EdgeSession) -> None:
    talk = session.conversation()
    assert refusal(talk, "\ud800").code == "input.texts"
    assert talk.messages == []


def test_conversations_answer_beside_each_other(session: EdgeSession) -> None:
    tasks = (None, "task0", "task1")
    expected = []
    for task in tasks:
        talk = session.conversation(task=task)
        expected.append([talk.say(text, max_tokens=8).tokens for text in SAID])
    wrong: list[object] = []

    def talk_of(task: str | None, right: list[tuple[int, ...]]) -> None:
        talk = session.conversation(task=task)
        found = [talk.say(text, max_tokens=8).tokens for text in SAID]
        if found != right:
            wrong.append((task, found))

    threads = [
        threading.Thread(target=talk_of, args=args)
        for args in [*zip(tasks, expected, strict=True)] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_conversation_is_not_two_threads_at_once(
    session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = session.conversation()
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        begun.set()
        go_on.wait(30)
        return write(*args)

    monkeypatch.setattr("osd_edge.runtime.generation.conversation.write", slow)
    other = threading.Thread(target=talk.say, args=(SAID[0],), kwargs={"max_tokens": 4})
    other.start()
    assert begun.wait(30)
    assert refusal(talk).code == "conversation.busy"
    go_on.set()
    other.join()
    assert [message["content"] for message in talk.messages[:1]] == [SAID[0]]


def test_a_conversation_ends_with_its_session(session: EdgeSession, tmp_path: Path) -> None:
    talk = session.conversation()
    talk.say(SAID[0], max_tokens=4)
    session.close()
    for call in (lambda: talk.say("on"), lambda: talk.save(tmp_path / "x")):
        with pytest.raises(TaskError) as refused:
            call()
        assert refused.value.code == "task.closed"
    assert len(talk.messages) == 2


def test_a_conversation_holds_on_to_nothing_of_a_closed_session(session: EdgeSession) -> None:
    talk = session.conversation()
    talk.say(SAID[0], max_tokens=4)
    base = weakref.ref(session._parts.base)
    keys = weakref.ref(session._parts.keys[talk].cache)
    session.close()
    gc.collect()
    assert (base(), keys()) == (None, None)
    assert talk.messages[0]["content"] == SAID[0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"when_full": "forget"}, "input.options"),
        ({"max_tokens": 0}, "input.number"),
        ({"max_bytes": 1.5}, "input.number"),
        ({"system": 3}, "input.messages"),
        ({"task": "elsewhere"}, "task.unknown"),
    ],
)
def test_a_conversation_that_cannot_be_is_refused(
    session: EdgeSession, words: dict[str, Any], code: str
) -> None:
    with pytest.raises(OsdEdgeError) as refused:
        session.conversation(**words)
    assert refused.value.code == code


def test_a_base_that_was_taught_no_conversations_begins_none(
    writer: Writer, tmp_path: Path
) -> None:
    from tests.support.packages import copied
    from tests.support.writers import change_facts

    package = copied(writer.package, tmp_path / "package")
    change_facts(package, chat=None)
    with pytest.raises(OsdEdgeError) as refused:
        EdgeSession(package).conversation()
    assert refused.value.code == "base.chat"


def test_an_answer_of_no_tokens_is_a_part_of_the_conversation(
    writer: Writer, session: EdgeSession, tmp_path: Path
) -> None:
    from tests.support.packages import copied
    from tests.support.writers import change_facts

    first = session.conversation(task=None).say(SAID[0], max_tokens=1).tokens[0]
    package = copied(writer.package, tmp_path / "package")
    change_facts(package, stop_ids=[first])
    talk = EdgeSession(package, threads=1).conversation()
    answer = talk.say(SAID[0])
    assert (answer.ended, answer.tokens) == ("stop", ())
    assert [message["content"] for message in talk.messages] == [SAID[0], ""]


def test_of_thousands_of_messages_few_beginnings_are_looked_at() -> None:
    messages = [Message("system", "x"), *[Message("user", "x"), Message("assistant", "x")] * 5000]
    messages.append(Message("user", "on"))
    looked = []

    def encode(given: Sequence[Message]) -> list[int]:
        looked.append(len(given))
        return [0] * len(given)

    limits = ConversationLimits(when_full="drop")
    kept, tokens = limits.within(messages, encode, 100, 10)
    assert len(looked) < 30 and len(kept) == len(tokens) == 90
    assert kept == [messages[0], *messages[-89:]]


def test_what_is_said_is_valid_unicode(session: EdgeSession) -> None:
    talk = session.conversation()
    assert refusal(talk, "a\ud800").code == "input.texts"
    assert talk.messages == []


@pytest.mark.parametrize("limits", [{"max_bytes": 1}, {"max_tokens": 1}])
def test_limits_without_room_for_an_answer_are_refused_at_once(
    session: EdgeSession, limits: dict[str, int]
) -> None:
    with pytest.raises(OsdEdgeError, match="room for two tokens") as refused:
        session.conversation(**limits)  # type: ignore[arg-type]
    assert refused.value.code == "input.number"
