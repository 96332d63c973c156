"""The bounds of time, size and number on connections, with short limits and slow clients."""

import http.client
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from osd_edge.serve.limits import Limits
from osd_edge.serve.open_connections import OpenConnections
from osd_edge.serve.served_file import served_file
from osd_edge.serve.server import Endpoint
from tests.serve.serving import (
    PATIENCE,
    connect,
    drip,
    eventually,
    get,
    read_all,
    request,
    running,
    send,
    status_of,
)

PAGE = {"/": served_file(b"page")}
PIECE = Limits().piece_bytes


def threads() -> int:
    return sum("process_request_thread" in one.name for one in threading.enumerate())


def test_a_head_that_comes_byte_by_byte_is_refused() -> None:
    """Each byte is in time for itself: what counts is the whole head."""
    with running(PAGE, limits=Limits(head_seconds=0.5)) as server, connect(server) as slow:
        head = request(server, *(f"X-{number}: a" for number in range(100)))
        assert not drip(slow, head, 0.05)
        slow.settimeout(PATIENCE)
        assert status_of(read_all(slow)) == 408
        assert eventually(lambda: threads() == 0)


def test_a_handshake_that_comes_byte_by_byte_is_ended(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl to make a certificate")
    hello, _ = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(_, hello, server_hostname="localhost").do_handshake()
    limits = Limits(head_seconds=0.5)
    with running(PAGE, Endpoint("127.0.0.1", 0, (cert, key)), limits) as server:
        with connect(server) as slow:
            assert not drip(slow, hello.read(), 0.05)
        assert eventually(lambda: threads() == 0)


def test_a_connection_that_says_nothing_is_ended() -> None:
    with running(PAGE, limits=Limits(head_seconds=0.3)) as server, connect(server) as idle:
        assert read_all(idle) == b""


def test_a_connection_that_is_kept_and_not_used_is_ended() -> None:
    with running(PAGE, limits=Limits(head_seconds=0.5)) as server, connect(server) as idle:
        idle.sendall(request(server))
        answer = read_all(idle)  # until the server ends it
        assert status_of(answer) == 200
        assert answer.endswith(b"page")


def test_requests_of_one_connection_have_their_time_each() -> None:
    with running(PAGE, limits=Limits(head_seconds=2)) as server:
        port = server.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.connect()
        kept = connection.sock
        for _ in range(6):  # longer than that in all
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"page"
            time.sleep(0.5)
        assert connection.sock is kept
        connection.close()


def test_requests_may_come_before_their_answers() -> None:
    with running(PAGE) as server:
        answer = send(server, request(server) * 3 + request(server, "Connection: close"))
        assert answer.count(b"HTTP/1.1 200") == 4


def test_who_does_not_take_an_answer_is_left() -> None:
    large = served_file(bytes(128 * PIECE))  # more than the buffers between both ends hold
    limits = Limits(head_seconds=600, piece_seconds=0.5, goodbye_seconds=0.1)
    assert eventually(lambda: threads() == 0)
    with running({"/": large}, limits=limits) as server, connect(server) as slow:
        slow.sendall(request(server))
        assert eventually(lambda: threads() == 1)
        assert eventually(lambda: threads() == 0)
        assert len(read_all(slow)) < large.size


def test_who_takes_it_slowly_gets_all_of_it() -> None:
    """In more than the seconds of a piece, but never too slowly for one of them."""
    large = served_file(bytes(24 * PIECE))
    limits = Limits(piece_seconds=2)
    with running({"/": large}, limits=limits) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE // 4)
        slow.settimeout(PATIENCE)
        slow.connect(("127.0.0.1", server.server_address[1]))
        slow.sendall(request(server, "Connection: close"))
        began = time.monotonic()
        found = 0
        while data := slow.recv(PIECE // 4):
            found += len(data)
            time.sleep(0.03)
        assert found > large.size
        assert time.monotonic() - began > limits.piece_seconds


def test_connections_are_bounded_and_so_are_threads() -> None:
    assert eventually(lambda: threads() == 0)
    with running(PAGE, limits=Limits(address_connections=3)) as server:
        taken = [connect(server) for _ in range(3)]
        assert eventually(lambda: threads() == 3)
        for _ in range(5):
            with connect(server) as one_more:
                answer = read_all(one_more)
                assert status_of(answer) == 503 and b"Retry-After" in answer
        assert threads() == 3
        taken.pop().close()
        assert eventually(lambda: threads() == 2)
        assert get(server, "/")[0] == 200
        for connection in taken:
            connection.close()


def test_one_address_leaves_room_for_others() -> None:
    connections = OpenConnections(Limits(connections=5, address_connections=3))
    assert [connections.add("a") for _ in range(4)] == [True, True, True, False]
    assert [connections.add("b") for _ in range(3)] == [True, True, False]  # five in all
    connections.remove("a")
    assert connections.add("b")
    for _ in range(3):
        connections.remove("b")
    assert [connections.add("c") for _ in range(4)] == [True, True, True, False]


def test_many_connections_at_once_are_all_taken() -> None:
    """Browsers open several each; those that wait to be accepted are not turned away."""
    with running(PAGE, limits=Limits(connections=64, address_connections=64)) as server:
        connections = [connect(server) for _ in range(60)]
        for connection in connections:
            connection.sendall(request(server, "Connection: close"))
        assert [status_of(read_all(connection)) for connection in connections] == [200] * 60
        for connection in connections:
            connection.close()


def test_connections_wait_while_the_server_is_busy() -> None:
    """Nobody accepts here, and the system still takes as many as a few phones open."""
    with running({}) as idle:
        idle.shutdown()
        waiting = [connect(idle) for _ in range(60)]
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["X: " + "a" * 20_000], 431),
        (["X: " + "a" * 200_000], 431),
        ([f"X-{number}: a" for number in range(101)], 431),
        ([f"X-{number}: a" for number in range(2000)], 431),
        ([f"X-{number}: a" for number in range(50)], 200),
    ],
)
def test_headers_are_bounded(lines: list[str], status: int) -> None:
    with running(PAGE) as server:
        assert status_of(send(server, request(server, *lines, "Connection: close"))) == status


def test_a_refusal_arrives_while_more_is_sent() -> None:
    """A server that only closed would break the connection, which tells a browser nothing."""
    limits = Limits(goodbye_seconds=PATIENCE)
    with running(PAGE, limits=limits) as server, connect(server) as connection:
        connection.sendall(request(server, "X: " + "a" * 20_000))
        assert status_of(read_all(connection)) == 431
        for _ in range(3):
            connection.sendall(bytes(1 << 16))  # what is broken already raises here
            time.sleep(0.05)


@pytest.mark.parametrize("size", [3_000, 20_000, 200_000])
def test_targets_are_bounded(size: int) -> None:
    with running(PAGE) as server:
        assert status_of(send(server, request(server, target="/" + "a" * size))) == 414
