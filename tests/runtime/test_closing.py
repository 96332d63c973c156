"""Closing a session: what is refused afterwards, what ends in order, and the memory given back."""

import copy
import json
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from osd_edge.device_tests.gauges.memory import read_memory
from osd_edge.errors import TaskError
from osd_edge.exporters import export_base
from osd_edge.exporters.demo.minilm import minilm_folder
from osd_edge.formats.bundle.coded import CodedSite
from osd_edge.formats.package.manifest_reader import read_manifest
from osd_edge.runtime import EdgeSession, open_base
from osd_edge.runtime.evaluate import evaluate
from tests.support import tiny
from tests.support.packages import SMALL

INPUTS = {"input_ids": np.ones((1, 3), np.int64)}
CALLS: dict[str, Callable[[EdgeSession], object]] = {
    "tasks": lambda session: session.tasks,
    "active": lambda session: session.active,
    "kind": lambda session: session.kind("first"),
    "labels": lambda session: session.labels("first"),
    "load": lambda session: session.load("no-such.osd.safetensors"),
    "activate": lambda session: session.activate("first"),
    "deactivate": lambda session: session.deactivate(),
    "unload": lambda session: session.unload("first"),
    "run": lambda session: session.run(INPUTS),
    "run of a task": lambda session: session.run(INPUTS, task="first"),
    "run of mixed rows": lambda session: session.run(INPUTS, tasks=["first"]),
    "encode": lambda session: session.encode(["a cat"]),
    "ask": lambda session: session.ask(["a cat"]),
    "classify": lambda session: session.classify(["a cat"]),
    "classify_images": lambda session: session.classify_images(np.zeros((1, 2, 2, 3), np.uint8)),
    "tag": lambda session: session.tag(["a cat"]),
    "answer": lambda session: session.answer("a cat", "a dog"),
    "embed": lambda session: session.embed(["a cat"]),
    "generate": lambda session: session.generate(["a cat"]),
    "conversation": lambda session: session.conversation(),
    "restore_conversation": lambda session: session.restore_conversation("no-such"),
    "evaluate": lambda session: evaluate(session, "first", []),
    "with": lambda session: session.__enter__(),
}


@pytest.fixture
def session(tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> EdgeSession:
    session = EdgeSession(tiny_base, threads=1)
    for path in tiny_bundles:
        session.load(path)
    session.activate("first")
    return session


def test_every_call_has_its_refusal() -> None:
    public = {name for name in dir(EdgeSession) if not name.startswith("_")}
    assert public - CALLS.keys() == {"close", "manifest"}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_closed_session_refuses_each_call(
    call: Callable[[EdgeSession], object], session: EdgeSession
) -> None:
    session.close()
    session.close()
    with pytest.raises(TaskError) as refusal:
        call(session)
    assert refusal.value.code == "task.closed"


def test_what_a_closed_session_was_of_is_still_told(session: EdgeSession, tiny_base: Path) -> None:
    session.close()
    assert (session.folder, session.manifest.family) == (tiny_base, "bert")


def test_the_end_of_a_with_block_closes(tiny_base: Path) -> None:
    with EdgeSession(tiny_base, threads=1) as session:
        assert session.run(INPUTS).hidden.shape == (1, 3, 32)
    with pytest.raises(TaskError) as refusal:
        session.run(INPUTS)
    assert refusal.value.code == "task.closed"
    with pytest.raises(ZeroDivisionError), EdgeSession(tiny_base, threads=1) as session:
        raise ZeroDivisionError
    with pytest.raises(TaskError):
        session.run(INPUTS)


@pytest.mark.parametrize("tasks", [None, ["first", "second"]])
def test_a_call_that_has_begun_ends_as_it_would_have(
    tasks: list[str] | None, session: EdgeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a cat sat", "the dog ran"]
    expected = session.classify(texts, tasks=tasks) if tasks else session.classify(texts)
    begun, closed = threading.Event(), threading.Event()
    usual = open_base.OpenBase.checked

    def checked(*given: object) -> object:
        begun.set()
        assert closed.wait(60)
        return usual(*given)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(open_base.OpenBase, "checked", checked)
    found: list[object] = []

    def classify() -> None:
        found.append(session.classify(texts, tasks=tasks) if tasks else session.classify(texts))

    thread = threading.Thread(target=classify)
    thread.start()
    assert begun.wait(60)
    session.close()
    closed.set()
    thread.join(60)
    assert found == [expected]


def test_closing_while_many_threads_run_refuses_or_answers(session: EdgeSession) -> None:
    right = session.run(INPUTS).hidden
    ends: list[str] = []

    def run() -> None:
        try:
            while True:
                assert np.array_equal(session.run(INPUTS).hidden, right)
        except TaskError as refusal:
            ends.append(refusal.code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    session.close()
    for thread in threads:
        thread.join(60)
    assert ends == ["task.closed"] * 4


def test_closing_frees_onnxruntime_and_the_tasks_though_results_are_kept(
    session: EdgeSession,
) -> None:
    output = session.run(session.encode(tiny.sentences(2)))
    parts = session._parts
    held = [weakref.ref(one) for one in (parts.base._ort, parts.tasks, parts.encoder)]
    del parts
    session.close()
    assert [one() for one in held] == [None] * 3
    assert np.isfinite(output.hidden).all()


def test_closing_lets_go_of_a_task_that_no_run_had() -> None:
    session = EdgeSession(SMALL, threads=1)
    session.load(SMALL / "coded.osd.safetensors")
    fresh = session._parts.tasks._fresh
    assert fresh is not None
    site = fresh[1].sites[0]
    assert isinstance(site, CodedSite)
    held = weakref.ref(site.part)
    del fresh, site
    session.close()
    assert held() is None


@pytest.mark.parametrize(
    "send",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda session: pickle.dumps(session.activate),
        lambda session: pickle.dumps(session, 0),
    ],
)
def test_what_sends_or_copies_a_session_says_what_to_do(
    send: Callable[[EdgeSession], object], session: EdgeSession
) -> None:
    with pytest.raises(TypeError, match="send its folder, and open an EdgeSession there"):
        send(session)


MEMORY = """
import json, sys
import numpy as np
from osd_edge.device_tests.gauges.memory import read_memory
from osd_edge.runtime import EdgeSession

def pss():
    return read_memory().pss

inputs, kept, figures = {"input_ids": np.ones((4, 64), np.int64)}, [], []
for _ in range(6):
    session = EdgeSession(sys.argv[1], threads=1)
    kept.append(session.run(inputs))
    opened = pss()
    session.close()
    figures.append([opened, pss()])
print(json.dumps(figures))
"""


@pytest.mark.skipif(read_memory() is None, reason="memory cannot be read here")
@pytest.mark.alone(reason="pages shared with other processes count by their number")
def test_memory_is_given_back_in_the_process_that_goes_on(tmp_path: Path) -> None:
    export_base(minilm_folder(), tmp_path / "base")
    linear = 4 * sum(site.n * site.d for site in read_manifest(tmp_path / "base").sites)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "base")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (_, first), *later = json.loads(done.stdout)
    for opened, closed in later:
        assert opened - closed > 0.9 * linear  # of which each session has a copy laid out for speed
        assert closed - first < 0.1 * linear
