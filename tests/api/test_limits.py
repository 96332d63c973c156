"""The server bounds the time, size and number of all that a client sends and gets."""

import json
import socket
import sys
import threading
import time
from typing import Any

import pytest

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.server import ApiServer, ApiSettings
from osd_edge.runtime.generation.running_batch import Pieces, RunningBatch
from osd_edge.runtime.generation.scheduler import BatchLimits
from tests.api.serving import (
    ask,
    connect,
    eventually,
    port_of,
    read_all,
    refusal,
    request,
    running,
)
from tests.support.writers import CONTEXT

BODY: dict[str, Any] = {"model": "task0", "prompt": "the", "max_tokens": 2}


def status_and_code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def sent(server: ApiServer, data: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(data)
        return read_all(connection)


def lively(server: ApiServer) -> bool:
    return ask(server, "/v1/completions", BODY)[0] == 200


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take a while, so that no machine writes 250 tokens in a second or two."""
    whole = RunningBatch.step

    def step(batch: RunningBatch) -> Pieces:
        time.sleep(0.05)
        return whole(batch)

    monkeypatch.setattr(RunningBatch, "step", step)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"model": "task0", "model": "task1"}',
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 10_000,
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 10_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(server: ApiServer, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/ask"):
        assert refusal(ask(server, path, body)) == (400, "api.body")


def test_half_a_surrogate_pair_is_refused_and_quoted(server: ApiServer) -> None:
    answer = ask(server, "/v1/completions", rb'{"model": "task0", "prompt": "\ud83d"}')
    assert refusal(answer) == (400, "input.prompt")
    answer = ask(server, "/v1/completions", rb'{"model": "\ud83d", "prompt": "x"}')
    assert refusal(answer) == (404, "api.model")
    answer = ask(server, "/v1/completions", rb'{"model": "task0", "prompt": "x", "\ud83d": 1}')
    assert refusal(answer) == (400, "api.field")
    body = rb'{"model": "task0", "messages": [{"role": "user", "content": "a\ud83d"}]}'
    assert ask(server, "/v1/chat/completions", body)[0] == 400


def test_a_body_that_is_too_long_is_refused(writing: EdgeSession) -> None:
    with running(writing, body_bytes=1000) as server:
        long = json.dumps(BODY | {"user": "x" * 2000}).encode()
        assert refusal(ask(server, "/v1/completions", long)) == (413, "api.body-length")
        # One that does not say its length is read as far as it may go.
        head = request(server, "/v1/completions", b"").replace(
            b"Content-Length: 0", b"Transfer-Encoding: chunked\r\nConnection: close"
        )
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in [b" " * 600] * 2)
        answer = sent(server, head + pieces + b"0\r\n\r\n")
        assert status_and_code(answer) == (413, "api.body-length")
        assert lively(server)


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHo st: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: ApiServer, head: bytes) -> None:
    assert status_and_code(sent(server, head)) == (400, "api.head")
    assert lively(server)


def test_a_head_that_is_too_long_is_refused(server: ApiServer) -> None:
    endless = b"GET /v1/models HTTP/1.1\r\nX: " + b"x" * 40_000
    assert status_and_code(sent(server, endless)) == (431, "api.head-length")
    target = b"GET /" + b"x" * 40_000
    assert status_and_code(sent(server, target)) == (431, "api.head-length")


def test_a_slow_head_is_refused_and_a_silent_connection_ends(writing: EdgeSession) -> None:
    with running(writing, head_seconds=0.5) as server:
        with connect(server) as silent:
            assert read_all(silent) == b""
        with connect(server) as slow:
            slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost:")
            assert status_and_code(read_all(slow)) == (408, "api.slow")
        with connect(server) as kept:  # and so does the next request of one that was answered
            kept.sendall(request(server, "/v1/completions", json.dumps(BODY).encode()))
            assert b" 200 " in kept.recv(20)
            kept.sendall(b"GET /v1/mod")
            assert read_all(kept).split(b"\r\n\r\n")[-1].find(b"api.slow") > 0


def test_bytes_that_drip_do_not_lengthen_the_time(writing: EdgeSession) -> None:
    with running(writing, head_seconds=0.6) as server, connect(server) as dripping:
        dripping.settimeout(0.1)
        begun = time.monotonic()
        ended = False
        for _ in range(300):
            try:
                dripping.sendall(b"x")
                ended = not dripping.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
            if ended:
                break
        assert ended and time.monotonic() - begun < 25


def test_a_slow_body_is_refused(writing: EdgeSession) -> None:
    with running(writing, body_seconds=0.5, head_seconds=1) as server, connect(server) as slow:
        slow.sendall(request(server, "/v1/completions", b"x" * 100)[:-50])
        assert status_and_code(read_all(slow)) == (408, "api.slow")


def test_connections_are_bounded(writing: EdgeSession) -> None:
    for name in ("connections", "address_connections"):
        few: Any = {name: 3}
        with running(writing, **few) as server:
            there = [connect(server) for _ in range(3)]
            try:
                assert eventually(lambda: _is_turned_away(server))
            finally:
                for connection in there:
                    connection.close()
            assert eventually(lambda: not _is_turned_away(server))
            assert lively(server)


def _is_turned_away(server: ApiServer) -> bool:
    """Whether one connection more gets a refusal, which the client can read."""
    with connect(server) as more:
        more.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return status_and_code(read_all(more)) == (503, "api.busy")


def test_prompts_that_wait_are_bounded(writing: EdgeSession, slow_steps: None) -> None:
    settings = ApiSettings(batch=BatchLimits(rows=1, waiting=4))
    with running(writing, settings) as server:
        for param, many in (
            ("prompt", {"prompt": ["a"] * 5}),
            ("n", {"prompt": ["a", "b"], "n": 3}),
        ):
            answer = ask(server, "/v1/completions", BODY | many)
            assert refusal(answer) == (400, "api.field")  # which no waiting would help
            assert answer[2]["error"]["param"] == param
        scheduler = server.scheduler
        assert scheduler is not None
        with connect(server) as connection:
            endless = {"model": "package", "prompt": ["the"] * 4, "max_tokens": CONTEXT}
            connection.sendall(request(server, "/v1/completions", json.dumps(endless).encode()))
            assert eventually(lambda: scheduler.steps > 1)
            answer = ask(server, "/v1/completions", BODY | {"prompt": ["a"] * 3})
            assert refusal(answer) == (503, "api.busy")
            assert answer[1]["retry-after"] == "1"
        assert eventually(lambda: not scheduler.rows_now)
        assert lively(server)


def test_an_answer_ends_in_time(writing: EdgeSession, slow_steps: None) -> None:
    endless = {"model": "package", "prompt": ["the"] * 60, "max_tokens": CONTEXT}
    with running(writing, answer_seconds=2) as server:
        scheduler = server.scheduler
        assert scheduler is not None
        assert refusal(ask(server, "/v1/completions", endless)) == (504, "api.timeout")
        assert eventually(lambda: not scheduler.rows_now)
        with connect(server) as connection:
            body = json.dumps(endless | {"stream": True}).encode()
            connection.sendall(request(server, "/v1/completions", body, "Connection: close"))
            answer = read_all(connection)
        assert b" 200 " in answer[:20]
        assert b"api.timeout" in answer and b"[DONE]" not in answer
        assert eventually(lambda: not scheduler.rows_now)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_rows(
    writing: EdgeSession, slow_steps: None, stream: bool
) -> None:
    """Sixty answers of 250 tokens, of which nobody waits for the rest."""
    endless = {"model": "package", "prompt": ["the"] * 60, "max_tokens": CONTEXT, "stream": stream}
    with running(writing) as server:
        scheduler = server.scheduler
        assert scheduler is not None
        with connect(server) as connection:
            connection.sendall(request(server, "/v1/completions", json.dumps(endless).encode()))
            assert eventually(lambda: scheduler.steps > 3)
        assert eventually(lambda: not scheduler.rows_now)
        assert scheduler.steps < 60 * 250 / 8 / 2  # of all that there would have been
        assert lively(server)


def test_a_client_that_sent_its_next_request_already_may_leave_too(
    writing: EdgeSession, slow_steps: None
) -> None:
    with running(writing) as server:
        scheduler = server.scheduler
        assert scheduler is not None
        short = request(server, "/v1/completions", json.dumps(BODY).encode())
        with connect(server) as connection:
            connection.sendall(short + short.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert read_all(connection).count(b"HTTP/1.1 200 ") == 2
        endless = {"model": "package", "prompt": ["the"] * 60, "max_tokens": CONTEXT}
        with connect(server) as connection:
            long = request(server, "/v1/completions", json.dumps(endless).encode())
            connection.sendall(long)
            assert eventually(lambda: scheduler.steps > 5)
            connection.sendall(short)
            assert eventually(lambda: scheduler.steps > 10)
        assert eventually(lambda: not scheduler.rows_now)
        assert scheduler.steps < 60 * 250 / 8 / 2
        with connect(server) as connection:  # but not any number of them
            connection.sendall(long + short * 200)
            assert read_all(connection) == b""
        assert eventually(lambda: not scheduler.rows_now)


def test_a_slow_reader_holds_up_nobody_and_is_left(writing: EdgeSession) -> None:
    """It takes nothing of its stream; another one's answer comes meanwhile, whole."""
    (expected,) = writing.generate(["the"], task="task0", max_tokens=25)
    with running(writing, stall_seconds=1, stall_bytes=4096) as server:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", port_of(server)))
        with slow:
            endless = {"model": "package", "prompt": ["the"] * 6, "max_tokens": CONTEXT}
            body = json.dumps(endless | {"stream": True}).encode()
            slow.sendall(request(server, "/v1/completions", body))
            scheduler = server.scheduler
            assert scheduler is not None
            assert eventually(lambda: scheduler.steps > 3)
            _, _, value = ask(server, "/v1/completions", BODY | {"max_tokens": 25})
            assert value["choices"][0]["text"] == expected.text
            assert eventually(lambda: not server._server.server_state.connections)
            assert not read_all(slow).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")


def test_the_end_of_the_server_ends_answers_in_order(
    writing: EdgeSession, slow_steps: None
) -> None:
    endless = {"model": "package", "prompt": ["the"] * 60, "max_tokens": CONTEXT}
    found: list[tuple[int, str]] = []
    with running(writing) as server:
        scheduler = server.scheduler
        assert scheduler is not None
        asking = threading.Thread(
            target=lambda: found.append(refusal(ask(server, "/v1/completions", endless)))
        )
        asking.start()
        assert eventually(lambda: scheduler.steps > 3)
    asking.join(60)
    assert found == [(503, "api.stopped")]


def test_what_the_server_lacks_is_no_fault_of_the_request(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert refusal(ask(server, "/v1/completions", BODY)) == (500, "input.tokenizers")
    ids = BODY | {"prompt": [3, 4]}  # which need none
    status, _, value = ask(server, "/v1/completions", ids)
    assert (status, value["usage"]["completion_tokens"]) == (200, 2)


def test_a_mistake_is_an_answer_and_a_line(
    writing: EdgeSession, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from osd_edge.runtime.api.models import Models

    def fails(_: Models) -> None:
        raise ZeroDivisionError("\x1b[31m")

    with running(writing) as server:
        monkeypatch.setattr(Models, "listed", fails)
        assert refusal(ask(server, "/v1/models")) == (500, "api.failed")
        assert lively(server)
    assert "ZeroDivisionError" in capfd.readouterr().err
