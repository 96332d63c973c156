"""Commands that are asked to end: with the status that shells know, no traceback, nothing left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from osd_edge.signals import Ended, ending_in_order
from tests.support.command_line import run_cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

# Forks a writer again and again, and asks each one to end a line of ours later than the last,
# until one gets through.
_ASKED_EVERYWHERE = """
import itertools, json, os, signal, sys
from pathlib import Path
from osd_edge.data import exchange, files
from osd_edge.signals import ending_in_order

work, way = Path(sys.argv[1]), sys.argv[2]
if way == "two steps":
    exchange.exchange = lambda *_: False
base = work / "base"

def write(content):
    with files.staged_folder(base, overwrite=True) as folder:
        fields = {"fingerprint": content, "files": {}}
        (folder / "manifest.json").write_text(json.dumps(fields))
    files.write_file(work / "report.json", content.encode())

write("0")
ended, passed, before = set(), 0, "0"
for last in itertools.count(1):
    child = os.fork()
    if child == 0:
        lines = itertools.count(1)
        def trace(frame, event, argument):
            if "osd_edge" not in frame.f_code.co_filename:
                return None
            if event == "line" and next(lines) == last:
                signal.raise_signal(signal.SIGTERM)
            return trace
        with ending_in_order():
            sys.settrace(trace)
            write(str(last))
            sys.settrace(None)
        sys.exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert sorted(path.name for path in work.iterdir()) == ["base", "report.json"], last
    found = json.loads((base / "manifest.json").read_text())["fingerprint"]
    assert found in (str(last - 1), str(last), before), (last, found)
    passed += found == str(last)
    ended.add(status)
    if status == 0:
        break
    before = found
print(json.dumps([last, sorted(ended), passed]))
"""

# A command that stays where an export stays for hours.
_WAITS = """
import sys
from pathlib import Path
import click
from osd_edge.cli import main
from osd_edge.data.files import staged_folder
from osd_edge.signals import Ended

@main.cli.command("wait")
def wait():
    try:
        with staged_folder(Path("base")):
            print("at work", flush=True)
            sys.stdin.readline()
    except Ended:  # as commands do that can be taken up
        click.echo("stopped", err=True)
        raise
    print("done", flush=True)

main._COMMANDS.clear()
main.LazyGroup.get_command = lambda self, context, name: wait
sys.argv[1:] = ["wait"]
main.main()
"""

# Runs the script as a shell does, in a terminal of its own: tells it when that is closed, and keeps
# its exit code in a file.
_AT_TERMINAL = """
import os, signal, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(reading, 0)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    os.execv(sys.executable, [sys.executable, "-c", {script!r}])
signal.signal(signal.SIGHUP, lambda number, _: os.kill(child, number))
os.close(terminal)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
open(sys.argv[2], "w").write(str(code))
"""


@pytest.mark.slow(reason="forks a process for each of hundreds of lines")
@pytest.mark.parametrize("way", ["one step", "two steps"])
def test_asked_to_end_at_any_line_a_writer_leaves_nothing(tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-c", _ASKED_EVERYWHERE, str(tmp_path), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines, ended, passed = json.loads(done.stdout)
    assert lines > 100 and passed > 10 and ended == [0, 143]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_asked_to_end_says_so_and_leaves_nothing(
    tmp_path: Path, name: str
) -> None:
    with waiting(tmp_path) as command:
        assert names(tmp_path) == [".base.osd-edge"]
        command.send_signal(getattr(signal, name))
        out, err = command.communicate(timeout=60)
    assert command.returncode == 128 + getattr(signal, name)
    assert (out, err) == ("", f"stopped\nosd-edge: ended by {name}\n")
    assert names(tmp_path) == []


def test_nohup_keeps_a_command_going(tmp_path: Path) -> None:
    with waiting(tmp_path, "nohup") as command:
        command.send_signal(signal.SIGHUP)
        out, _ = command.communicate("go on\n", timeout=60)
    assert (command.returncode, out) == (0, "done\n")
    assert names(tmp_path) == ["base"]


def test_a_command_whose_terminal_is_closed_ends_in_order(tmp_path: Path) -> None:
    ours, terminal = os.openpty()
    command = [sys.executable, "-c", _AT_TERMINAL.format(script=_WAITS), os.ttyname(terminal)]
    status = tmp_path / "status"
    with subprocess.Popen([*command, status], cwd=tmp_path, env=environment()) as process:
        while b"at work" not in os.read(ours, 1000):
            pass
        os.close(terminal)
        os.close(ours)
        process.wait(60)
    assert status.read_text() == str(128 + signal.SIGHUP)
    assert names(tmp_path) == ["status"]


def test_a_second_signal_does_not_break_into_tidying_up() -> None:
    tidied = []
    with pytest.raises(Ended) as ended, ending_in_order():
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            tidied.append(True)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # which a process that ends does not need any more
    assert tidied and ended.value.code == 128 + signal.SIGHUP


_ENDED_IN_A_FINALIZER = """
import signal, time
from osd_edge.signals import ending_in_order

class Pattern:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

with ending_in_order():
    Pattern()
    for _ in range(1000):
        time.sleep(0.01)
    print("went on to its end")
"""


def test_a_signal_inside_a_finalizer_ends_the_command_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDED_IN_A_FINALIZER], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert (done.stdout, done.stderr) == ("", "")


def test_a_library_that_makes_another_exception_of_it_changes_no_exit_code() -> None:
    with pytest.raises(Ended) as ended, ending_in_order():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Ended as error:
            raise ValueError("could not determine the shape") from error
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # which a process that ends does not need any more
    assert ended.value.code == 128 + signal.SIGTERM


def test_handlers_of_the_caller_are_left_alone() -> None:
    def own(*_: object) -> None:
        raise AssertionError("not called")

    before = signal.signal(signal.SIGTERM, own)
    try:
        with ending_in_order():
            assert signal.getsignal(signal.SIGTERM) is own
            assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_can_run_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(run_cli, capsys, "--version").result().code == 0


@pytest.mark.slow(reason="exports in a process of its own")
def test_an_export_that_is_asked_to_end_leaves_no_package(
    tiny_models: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "osd_edge.cli.main", "export", "base"]
    command += [str(tiny_models / "base"), "-o", str(tmp_path / "deep" / "base")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("deep/.base.osd-edge/new/*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err and err.endswith("osd-edge: ended by SIGTERM\n")
    assert names(tmp_path / "deep") == []


@contextlib.contextmanager
def waiting(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a command in `folder` that stages a base until it reads a line."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*before, sys.executable, "-c", _WAITS],
        cwd=folder,
        env=environment(),
        text=True,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    ) as command:
        assert command.stdout is not None and command.stdout.readline() == "at work\n"
        yield command


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path.cwd())}
