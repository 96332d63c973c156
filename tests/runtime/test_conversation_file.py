"""A conversation's file: it goes on where it was, and a file that is not one is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from osd_edge import BaseError, ConversationError, OsdEdgeError
from osd_edge.errors import Code
from osd_edge.formats.container import pack, read_header, read_tensors
from osd_edge.runtime import Conversation, EdgeSession
from tests.support.packages import copied
from tests.support.writers import Writer, change_facts

Tensors = dict[str, NDArray[Any]]
Metadata = dict[str, str]


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def writer(request: pytest.FixtureRequest) -> Writer:
    made: Writer = request.getfixturevalue(request.param)
    return made


def opened(writer: Writer) -> EdgeSession:
    session = EdgeSession(writer.package, threads=1)
    for path in writer.bundles:
        session.load(path)
    return session


def saved(session: EdgeSession, file: Path) -> Conversation:
    talk = session.conversation(task="task0", system="under", max_tokens=120, when_full="drop")
    talk.say("the cat", max_tokens=6)
    talk.save(file)
    return talk


def code_of(session: EdgeSession, file: Path, **more: Any) -> str:
    with pytest.raises(OsdEdgeError) as refused:
        session.restore_conversation(file, **more)
    return refused.value.code


def test_a_conversation_goes_on_in_another_session(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "talk"
    talk = saved(opened(writer), file)
    again = opened(writer).restore_conversation(file)
    assert (again.messages, again.tokens) == (talk.messages, talk.tokens)
    assert (again.task, again.digest) == (talk.task, talk.digest)
    for text in ("a dog 猫", "x" * 20, "y" * 20):  # and it drops turns as the other does
        assert again.say(text, max_tokens=8).tokens == talk.say(text, max_tokens=8).tokens
        assert (again.messages, again.tokens) == (talk.messages, talk.tokens)
    again.save(file)
    assert opened(writer).restore_conversation(file).messages == talk.messages


def test_keys_come_from_the_file(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "talk"
    talk = saved(opened(writer), file)
    changed(file, lambda _, tensors: tensors["keys"].__imul__(1.5))
    wrong = opened(writer).restore_conversation(file)
    assert wrong.say("on", max_tokens=8).tokens != talk.say("on", max_tokens=8).tokens


def test_a_conversation_without_keys_is_saved_too(writer: Writer, tmp_path: Path) -> None:
    session, file = opened(writer), tmp_path / "talk"
    session.conversation(system="under").save(file)
    talk = session.restore_conversation(file)
    assert talk.messages == [{"role": "system", "content": "under"}]
    assert talk.say("on", max_tokens=2).task is None


def test_another_task_than_the_saved_one_is_refused(writer: Writer, tmp_path: Path) -> None:
    file = tmp_path / "talk"
    talk = saved(opened(writer), file)
    session = EdgeSession(writer.package, threads=1)
    assert code_of(session, file) == "conversation.task"
    session.load(writer.bundles[1], "task0")
    assert code_of(session, file) == "conversation.task"
    again = session.restore_conversation(file, recompute=True)
    assert again.messages == talk.messages
    answer = again.say("on", max_tokens=8)
    assert (
        answer.tokens
        == session.generate([again.messages[:-1]], task="task0", max_tokens=8)[0].tokens
    )


def test_another_base_package_than_the_saved_one_is_refused(
    writer: Writer, tiny_llama: Writer, tiny_gpt2: Writer, tmp_path: Path
) -> None:
    file = tmp_path / "talk"
    saved(opened(writer), file)
    other = tiny_gpt2 if writer is tiny_llama else tiny_llama
    assert code_of(opened(other), file) == "conversation.base"
    package = copied(writer.package, tmp_path / "package")
    weights = package / "model.onnx"  # of the same base, but another graph
    model = __import__("onnx").load(str(weights), load_external_data=False)
    model.doc_string = "another"
    weights.write_bytes(model.SerializeToString())
    change_facts(package)
    session = EdgeSession(package)
    session.load(writer.bundles[0])
    assert code_of(session, file) == "conversation.base"


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(
    writer: Writer, tmp_path: Path
) -> None:
    talk = saved(opened(writer), tmp_path / "talk")
    with pytest.raises(OsdEdgeError) as refused:
        talk.save(tmp_path / "none" / "talk")
    assert refused.value.code == "output.unwritable"
    before = (tmp_path / "talk").read_bytes()
    talk.save(tmp_path / "talk")
    assert (tmp_path / "talk").read_bytes() == before


def changed(file: Path, change: Callable[[Metadata, Tensors], object]) -> None:
    """Changes what the file has, with a digest that is right."""
    data = file.read_bytes()
    metadata, entries, start = read_header(data)
    tensors = {name: array.copy() for name, array in read_tensors(data, entries, start).items()}
    change(metadata, tensors)
    file.write_bytes(pack(tensors, metadata))


def _text(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


HOSTILE: dict[str, Callable[[Metadata, Tensors], object]] = {
    "version": lambda m, _: m.update({"osd.conversation": "2"}),
    "key": lambda m, _: m.update({"more": "x"}),
    "no key": lambda m, _: m.pop("osd.limits"),
    "task": lambda m, _: m.update({"osd.task": "3"}),
    "task without digest": lambda m, _: m.update({"osd.task": '["task0", null]'}),
    "limits": lambda m, _: m.update({"osd.limits": "{}"}),
    "limit": lambda m, _: m.update(
        {"osd.limits": '{"max_tokens": -1, "max_bytes": null, "when_full": "drop"}'}
    ),
    "limit below its tokens": lambda m, _: m.update(
        {"osd.limits": '{"max_tokens": 3, "max_bytes": null, "when_full": "refuse"}'}
    ),
    "bytes below its keys": lambda m, _: m.update(
        {"osd.limits": '{"max_tokens": null, "max_bytes": 1, "when_full": "refuse"}'}
    ),
    "more messages than tokens": lambda _, t: t.update(
        messages=_text([{"role": "user", "content": "x"}] * 1000)
    ),
    "nested": lambda m, _: m.update({"osd.task": "[" * 100_000}),
    "tensor": lambda _, t: t.update(more=np.zeros(1, np.uint8)),
    "no tokens": lambda _, t: t.pop("tokens"),
    "too many tokens": lambda _, t: t.update(tokens=np.zeros(10**4, np.uint32)),
    "strange tokens": lambda _, t: t.update(tokens=np.full(40, 10**6, np.uint32)),
    "type of tokens": lambda _, t: t.update(tokens=t["tokens"].astype(np.float32)),
    "shape of keys": lambda _, t: t.update(keys=t["keys"][:-1]),
    "flat keys": lambda _, t: t.update(keys=t["keys"].ravel()),
    "type of keys": lambda _, t: t.update(keys=t["keys"].astype(np.float16)),
    "NaN in keys": lambda _, t: t["keys"].fill(np.nan),
    "more keys than tokens": lambda _, t: t.update(tokens=t["tokens"][:3]),
    "no keys in keys": lambda _, t: t.update(keys=t["keys"][:, :, :0]),
    "messages": lambda _, t: t.update(messages=_text({"role": "user"})),
    "message": lambda _, t: t.update(messages=_text([{"role": "user", "content": 1}])),
    "no text": lambda _, t: t.update(messages=np.full(3, 255, np.uint8)),
    "no JSON": lambda _, t: t.update(messages=np.full(3, 91, np.uint8)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused(what: str, tiny_llama: Writer, tmp_path: Path) -> None:
    session, file = opened(tiny_llama), tmp_path / "talk"
    saved(session, file)
    changed(file, lambda *_: None)
    session.restore_conversation(file)  # which is fine
    changed(file, HOSTILE[what])
    assert code_of(session, file) == "conversation.file"


def test_a_damaged_file_is_refused_wherever_it_is_damaged(
    tiny_llama: Writer, tmp_path: Path
) -> None:
    session, file = opened(tiny_llama), tmp_path / "talk"
    saved(session, file)
    data = file.read_bytes()
    random = np.random.default_rng(2)
    spoiled = [data[:n] for n in (0, 7, 8, 100, len(data) // 2, len(data) - 1)]
    spoiled += [data + b"x", b"\x80\x04K\x01.", b"PK\x03\x04" * 100]
    for at in random.integers(0, len(data), 60):
        spoiled.append(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
    for one in spoiled:
        file.write_bytes(one)
        with pytest.raises(ConversationError) as refused:
            session.restore_conversation(file)
        assert refused.value.code == "conversation.file"


def test_what_is_no_file_is_refused(tiny_llama: Writer, tmp_path: Path) -> None:
    session = opened(tiny_llama)
    assert code_of(session, tmp_path / "none") == "conversation.file"
    assert code_of(session, tmp_path) == "conversation.file"
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**33)
    assert code_of(session, tmp_path / "large") == "conversation.file"


def test_a_limit_beyond_all_bounds_is_no_limit(tiny_llama: Writer, tmp_path: Path) -> None:
    session, file = opened(tiny_llama), tmp_path / "talk"
    session.conversation(max_tokens=10**40, max_bytes=10**60).save(file)
    assert session.restore_conversation(file).say("the cat", max_tokens=2).ended == "length"


def test_a_conversation_is_saved_after_a_run_that_was_refused(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, file = opened(writer), tmp_path / "talk"
    talk = saved(session, file)

    def refuse(_: object) -> None:
        raise BaseError(Code.BASE_DIGEST, "the weights were written to")

    with monkeypatch.context() as patch:
        patch.setattr("osd_edge.runtime.open_base.OpenBase.check_weights", refuse)
        with pytest.raises(BaseError):
            talk.say("on")
    talk.save(file)
    again = session.restore_conversation(file)
    assert again.messages == talk.messages
    assert again.say("on", max_tokens=8).tokens == talk.say("on", max_tokens=8).tokens
