"""A process that is forked while other threads use a session: no call and no end of it waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.writers import Writer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")

FORKS = 25
# In a process of its own, since tests' processes have threads of other libraries. Each child has a
# time, after which the system ends it wherever it waits.
CHILDREN = """
import os, signal, sys, threading, warnings
import numpy as np
from osd_edge import TaskError
from osd_edge.runtime import EdgeSession

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says that threads are running
base, busy, threads, forks, *bundles = sys.argv[1:]
inputs, texts = {"input_ids": np.ones((2, 16), np.int64)}, ["the cat sat"] * 4
session = EdgeSession(base, threads=int(threads), cache_bytes=1)
names = [session.load(bundle) for bundle in bundles]
right = session.run(inputs, task=names[0])
session.encode(texts)
stop = threading.Event()

def swap():
    for name in names:
        session.activate(name)
    session.deactivate()

calls = {
    "swaps": swap,
    "runs": lambda: session.run(inputs),
    "mixed runs": lambda: session.run(inputs, tasks=names),
    "texts": lambda: session.encode(texts),
    "nothing": stop.wait,
}

def work():
    while not stop.is_set():
        calls[busy]()

def in_child(turn):
    for call in (
        swap, calls["runs"], calls["mixed runs"], calls["texts"],
        lambda: session.run(inputs, task=names[0]), lambda: session.load(bundles[0], "again"),
        lambda: session.unload(names[0]), lambda: session.kind(names[0]),
        lambda: session.tasks, lambda: session.active, lambda: session.__enter__(),
    ):
        try:
            call()
        except TaskError as refusal:
            assert refusal.code == "task.fork", refusal
            assert "open one in this process" in str(refusal) and "spawn" in str(refusal)
        else:
            raise AssertionError("a call was answered")
    if turn % 2:
        session.close()
    if turn % 5 == 0:
        with EdgeSession(base, threads=int(threads)) as own:
            output = own.run(inputs, task=own.load(bundles[0]))
            assert own.encode(texts)["input_ids"].shape[0] == len(texts)
        assert np.allclose(output.hidden, right.hidden, atol=1e-5)

workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
ends = []
for turn in range(int(forks)):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        in_child(turn)
        del session, right
        sys.exit()  # all is freed, as at the end of any program
    ends.append(os.waitpid(child, 0)[1])
stop.set()
for worker in workers:
    worker.join()
assert np.array_equal(session.run(inputs, task=names[0]).hidden, right.hidden)
print([os.waitstatus_to_exitcode(end) for end in ends])
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("busy", ["nothing", "swaps", "runs", "mixed runs", "texts"])
def test_a_forked_process_is_refused_and_opens_its_own(
    busy: str, threads: int, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    command = [sys.executable, "-c", CHILDREN, str(tiny_base), busy, str(threads), str(FORKS)]
    done = subprocess.run(
        [*command, *map(str, tiny_bundles)], capture_output=True, text=True, timeout=300
    )
    assert (done.stderr, done.stdout) == ("", f"{[0] * FORKS}\n")


SPAWNED = """
import multiprocessing, sys
from osd_edge.runtime import EdgeSession

def labels(base, bundle, text):
    with EdgeSession(base, threads=1) as session:
        return session.classify([text], task=session.load(bundle))[0].label

if __name__ == "__main__":
    base, bundle = sys.argv[1:]
    session = EdgeSession(base, threads=1)
    spawn = multiprocessing.get_context("spawn")
    try:
        spawn.Process(target=print, args=(session,)).start()
    except TypeError as refusal:
        print(refusal)
    with spawn.Pool(1) as pool:
        print(pool.apply(labels, (base, bundle, "a cat")) == labels(base, bundle, "a cat"))
"""


def test_a_spawned_process_opens_the_folder_that_it_is_sent(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWNED)
    command = [sys.executable, str(program), str(tiny_base), str(tiny_bundles[0])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    refusal, same = done.stdout.splitlines()
    assert "send its folder, and open an EdgeSession there" in refusal
    assert (same, done.returncode) == ("True", 0)


# A stream and a conversation that were begun before the fork.
WRITING = """
import os, sys
from osd_edge import TaskError
from osd_edge.runtime import EdgeSession

session = EdgeSession(sys.argv[1], threads=1)
stream = session.generate(["the cat"], max_tokens=8, stream=True)
first, talk = next(stream), session.conversation()
said = talk.say("on", max_tokens=4, stream=True)
next(said)
child = os.fork()
if child == 0:
    for call in (
        lambda: next(stream), lambda: next(said), lambda: talk.say("on"), lambda: talk.save("x"),
        lambda: session.generate(["on"]), lambda: session.conversation(),
        lambda: session.restore_conversation("x"),
    ):
        try:
            call()
        except TaskError as refusal:
            assert refusal.code == "task.fork", refusal
        else:
            os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), len(list(stream)), len(list(said)), len(talk.messages))
"""


def test_a_forked_process_writes_no_text_over_its_parent_s_session(tiny_llama: Writer) -> None:
    command = [sys.executable, "-W", "error", "-c", WRITING, str(tiny_llama.package)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.stderr) == (["0", "7", "3", "2"], "")
