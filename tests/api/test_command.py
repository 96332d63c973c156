"""`osd-edge api` in a process of its own: what it prints, how it is asked, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import APIStatusError, OpenAI

from tests.api.serving import PATIENCE
from tests.support.signals import hear_ctrl_c
from tests.support.writers import Writer

_COMMAND = (sys.executable, "-c", "from osd_edge.cli.main import main; main()", "api")


@contextmanager
def started(*options: str | Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command; it is killed if a test did not end it."""
    process = subprocess.Popen(
        [*_COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
        preexec_fn=hear_ctrl_c,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.fixture
def given(tiny_llama: Writer) -> list[str | Path]:
    first, second = tiny_llama.bundles
    base = ("--base", tiny_llama.package, "--base-name", "tiny")
    return [*base, "--bundle", first, "--bundle", second, "--port", "0", "--threads", "1"]


def test_it_says_where_it_is_and_how_it_is_asked(given: list[str | Path]) -> None:
    with started(*given) as process:
        address, _, rest = line_of(process).partition("  ")
        assert rest == "models: tiny, task0, task1; Ctrl+C stops"
        curl = line_of(process)
        assert curl.startswith(f"curl {address}/chat/completions -H ") and '"task1"' in curl
        with OpenAI(base_url=address, api_key="any", max_retries=0) as client:
            found = client.completions.create(model="tiny", prompt="the", max_tokens=3)
        assert found.choices[0].text
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_a_model_has_the_name_that_its_bundle_was_given(
    given: list[str | Path], tiny_llama: Writer
) -> None:
    with started(*given, "--bundle", f"again={tiny_llama.bundles[0]}", "--json") as process:
        assert json.loads(line_of(process))["models"] == ["tiny", "task0", "task1", "again"]
    with started(*given, "--bundle", tiny_llama.bundles[0]) as process:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and "--bundle NAME=FILE" in err
        assert err.endswith("[task.taken]\n")


def test_programs_get_a_line_and_the_key_is_of_the_environment(given: list[str | Path]) -> None:
    with started(*given, "--json", OSD_EDGE_API_KEY="s3cret") as process:
        line = json.loads(line_of(process))
        assert line["models"] == ["tiny", "task0", "task1"]
        for key, code in (("other", "api.key"), ("s3cret", "api.model")):
            with (
                OpenAI(base_url=line["address"], api_key=key, max_retries=0) as client,
                pytest.raises(APIStatusError) as refused,
            ):
                client.models.retrieve("gpt-4")
            assert refused.value.code == code
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (128 + signal.SIGTERM, "")
        assert err == "osd-edge: ended by SIGTERM\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_while_it_writes(given: list[str | Path], number: signal.Signals) -> None:
    """An answer that is being written has some seconds; a stream is whole by then, or says so."""
    with started(*given, "--json") as process:
        port = urlsplit(json.loads(line_of(process))["address"]).port
        body = json.dumps({"model": "tiny", "prompt": ["the"] * 40, "stream": True}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found = bytearray()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(head.encode() + body)
            found += connection.recv(1000)
            process.send_signal(number)

            def read() -> None:
                while data := connection.recv(1 << 16):
                    found.extend(data)

            reading = threading.Thread(target=read)
            reading.start()
            _, err = process.communicate(timeout=PATIENCE)
            reading.join(PATIENCE)
        assert process.returncode == (0 if number == signal.SIGINT else 128 + number)
        assert "Traceback" not in err
        assert found.endswith(b"\r\n0\r\n\r\n")
        assert (b"[DONE]" in found) != (b"api.stopped" in found)


def test_an_open_address_is_warned_of(given: list[str | Path]) -> None:
    with started(*given, "--host", "0.0.0.0") as process:
        assert process.stderr is not None
        assert "--api-key" in process.stderr.readline()
    with started(*given, "--host", "0.0.0.0", "--api-key", "s3cret") as process:
        assert process.stderr is not None
        assert "TLS" in process.stderr.readline()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--api-key", " "), 2, "expected a key"),
        (("--cors", "*"), 2, "expected one such as https://"),
        (("--cache", "much"), 1, "[input.size]"),
        (("--cache", "4KiB"), 1, "[input.size]"),
        (("--base-name", "task0"), 1, "[input.task-name]"),
        (("--name", "no name"), 1, "[input.address]"),
        (("--host", "999.1.1.1"), 1, "[input.address]"),
        (("--timeout", "0"), 2, "--timeout"),
    ],
)
def test_options_that_cannot_be_are_refused(
    given: list[str | Path], options: tuple[str, str], code: int, words: str
) -> None:
    done = subprocess.run(
        [*_COMMAND, *given, *options], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == code
    assert words in done.stderr and "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install(given: list[str | Path]) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from osd_edge.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "api", *given], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "[api]" in done.stderr and "[input.missing-package]" in done.stderr
