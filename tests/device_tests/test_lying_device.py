"""A device at the other end of ssh that says anything at all: it ends as a refusal with a code."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from osd_edge.device_tests.devices import answers, ssh_connection
from osd_edge.device_tests.devices.agent import MARK
from osd_edge.device_tests.devices.ssh import SshDevice
from osd_edge.device_tests.devices.ssh_connection import SshConnection
from osd_edge.device_tests.devices.ssh_target import SshTarget
from osd_edge.device_tests.measure import keep_nothing
from osd_edge.device_tests.plan import Plan
from osd_edge.errors import DeviceError, OsdEdgeError
from tests.support.reports import made_up

DOC = (Path(__file__).parents[2] / "docs" / "emulated-device.md").read_text("utf-8")
FACTS: dict[str, Any] = {
    "machine": "aarch64",
    "bits": 64,
    "python": [3, 11],
    "glibc": [2, 36],
    "packages": {"numpy": "2.0.1", "onnxruntime": None, "osd-edge": "0.1.0"},
    "free_bytes": 10**10,
}


def said(*lines: Any) -> list[dict[str, Any]]:
    """What is read where the device says `lines`, each an answer or the bytes of one."""
    mark = MARK.encode()
    data = b"".join(
        mark + (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
        for line in lines
    )
    return list(answers.read_answers(io.BytesIO(data), "pi"))


def refused(*lines: Any) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        said(*lines)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    assert f"`{caught.value.code}`" in DOC
    return caught.value


@pytest.mark.parametrize(
    "line",
    [
        *(b"{nope", b"5", b"[1]", b'{"hello": "\xff"}', b"[" * 10**5, b'{"exit": ' + b"9" * 5000),
        *({"error": "boom"}, {"error": {"code": 5, "message": 7}}, {"error": {"code": "a.b"}}),
        *({"error": {"code": "\x1b[31mx\nPASSED", "message": "hi"}}, {"report": 5}, {"line": 5}),
        *({"exit": "zero"}, {"exit": None}, {"exit": True}, {"exit": 10**12}, {"unpacked": 5}),
        *({"hello": []}, {"error": {"code": "x" * 65, "message": "hi"}}),
    ],
)
def test_an_answer_of_another_form_is_refused(line: Any) -> None:
    assert refused(line).code == "device.answer"


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LONGEST_LINE", 1000)
    assert refused(b"x" * 1000).code == "device.answer"
    assert said({"line": "x" * 800})


def test_an_error_of_the_agent_keeps_its_code_and_cannot_colour_the_terminal() -> None:
    error = refused({"error": {"code": "device.space", "message": "full\x1b[31m\ud800"}})
    assert error.code == "device.space" and "\\x1b" in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("machine", 5), ("machine", "x" * 1000), ("bits", "64"), ("bits", -1), ("python", [3])),
        *(("python", ["x", 1]), ("python", 3), ("glibc", [2, 10**9]), ("glibc", "2.36")),
        *(("packages", []), ("packages", {}), ("packages", {"numpy": "9" * 5000})),
        *(("free_bytes", "lots"), ("free_bytes", -1), ("free_bytes", 10**30)),
    ],
)
def test_facts_of_another_form_are_refused(name: str, value: Any) -> None:
    assert answers.read_facts(FACTS, "pi").platform.glibc == (2, 36)
    for facts in ({**FACTS, name: value}, {key: FACTS[key] for key in FACTS if key != name}):
        with pytest.raises(DeviceError) as caught:
            answers.read_facts(facts, "pi")
        assert caught.value.code == "device.answer"


@contextmanager
def connection_to(program: str) -> Iterator[SshConnection]:
    """A connection to this Python, which runs `program`."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield SshConnection(SshTarget("pi"), process)
        finally:
            process.kill()


def test_a_device_that_never_says_hello_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_connection, "_HELLO_SECONDS", 0.5)
    for program in ("import time; time.sleep(600)", "while True: print('welcome')"):
        with (
            connection_to(program) as connection,
            pytest.raises(DeviceError, match="no answer in") as caught,
        ):
            connection.hello()
        assert caught.value.code == "device.unreachable"


ALIVE = f"print('{MARK}{{\"alive\": true}}', flush=True)"


def test_a_device_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_connection, "_SILENT_SECONDS", 0.5)
    for program in (f"import time; {ALIVE}; time.sleep(600)", "while True: print('welcome')"):
        with (
            connection_to(program) as connection,
            pytest.raises(DeviceError, match=r"pi fell silent: .* for 0.5 s; is it on") as caught,
        ):
            connection.answer("unpacked")
        assert caught.value.code == "device.lost"


def test_a_device_that_reads_no_more_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ssh_connection, "_SILENT_SECONDS", 0.5)
    archive = tmp_path / "files.tar.gz"
    archive.write_bytes(bytes(4 << 20))  # more than a pipe holds
    with (
        connection_to("import time; time.sleep(600)") as connection,
        pytest.raises(DeviceError, match="fell silent") as caught,
    ):
        connection.send(archive)
    assert caught.value.code == "device.lost"


def test_long_work_is_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_connection, "_SILENT_SECONDS", 2.0)
    lines = "[(time.sleep(0.2), print(alive, flush=True)) for _ in range(15)]"  # 3 s in all
    done = f'print(\'{MARK}{{"unpacked": "/there"}}\')'
    alive = f"alive = '{MARK}{{\"alive\": true}}'"
    with connection_to(f"import time; {alive}; {lines}; {done}") as connection:
        assert connection.answer("unpacked") == "/there"


def test_a_run_of_which_nothing_new_is_heard_is_given_up_and_keeps_its_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssh_connection, "_NEWS_SECONDS", 0.5)
    report: Any = made_up()
    text = MARK + json.dumps({"report": json.dumps(report)})
    program = f"import time; input(); print({text!r}, flush=True)\nwhile True:\n"
    program += f"    time.sleep(0.1); {ALIVE}"
    kept: list[Any] = []
    with connection_to(program) as connection, pytest.raises(OsdEdgeError) as caught:
        SshDevice(SshTarget("pi"))._measure(connection, Plan(), "/there", kept.append)
    assert caught.value.code == "device.broken-off" and "fell silent" in str(caught.value)
    assert kept == [report]


def test_errors_without_end_take_no_memory() -> None:
    with connection_to("import sys; sys.stderr.write('x' * 10**7)") as connection:
        connection.lost()
        assert 0 < sum(map(len, connection._errors)) < 10**5


def ending(*said: dict[str, Any]) -> OsdEdgeError:
    """How a run ends where the device says this once it has been asked to run."""
    text = "".join(f"{MARK}{json.dumps(answer)}\n" for answer in said)
    program = f"import sys; input(); sys.stdout.write({text!r})"
    with connection_to(program) as connection, pytest.raises(OsdEdgeError) as caught:
        SshDevice(SshTarget("pi"))._measure(connection, Plan(), "/there", keep_nothing)
    return caught.value


def test_a_passed_report_and_another_ending_do_not_go_together() -> None:
    report: Any = made_up()
    passed = {"report": json.dumps(report)}
    for code in (1, 137, -9):
        error = ending(passed, {"exit": code})
        assert error.code == "device.broken-off" and "says that it passed" in str(error)
    assert ending(passed, {"exit": "zero"}).code == "device.answer"
    said = {"error": {"code": "device.space", "message": "full"}}
    assert ending(passed, said).code == "device.broken-off"
    report["plan"]["seconds"] = float("nan")
    assert ending({"report": json.dumps(report)}, {"exit": 0}).code == "report.malformed"
