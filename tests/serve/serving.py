"""Servers on loopback, and the requests that tests send to them."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from osd_edge.serve.limits import Limits
from osd_edge.serve.served_file import ServedFile
from osd_edge.serve.server import Endpoint, PageServer

LOOPBACK = Endpoint("127.0.0.1", 0)
# For what is to end in a second or so: far more than a busy machine needs.
PATIENCE = 30

Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def running(
    entries: Mapping[str, ServedFile],
    endpoint: Endpoint = LOOPBACK,
    limits: Limits | None = None,
) -> Iterator[PageServer]:
    """A server of `entries` in a thread."""
    with PageServer(entries, endpoint, limits) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def get(server: PageServer, path: str, method: str = "GET", **headers: str) -> Reply:
    """Status, headers and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def connect(server: PageServer) -> socket.socket:
    """A connection to the server, without a request."""
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=PATIENCE)


def send(server: PageServer, data: bytes) -> bytes:
    """All that the server sends back to `data` until it ends the connection."""
    with connect(server) as connection:
        connection.sendall(data)
        return read_all(connection)


def request(server: PageServer, *lines: str, target: str = "/", method: str = "GET") -> bytes:
    """The bytes of a request with the server's own `Host` and the header lines `lines`."""
    host = f"Host: 127.0.0.1:{server.server_address[1]}"
    return "\r\n".join((f"{method} {target} HTTP/1.1", host, *lines, "", "")).encode("iso-8859-1")


def status_of(answer: bytes) -> int:
    """The status of the first answer in `answer`."""
    version, status = answer.split(b" ", 2)[:2]
    assert version == b"HTTP/1.1"
    return int(status)


def read_all(connection: socket.socket) -> bytes:
    """Reads until the server ends the connection, politely or not."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            found += data
    return bytes(found)


def drip(connection: socket.socket, data: bytes, pause: float) -> bool:
    """Sends `data` byte by byte with pauses of seconds; False where the server had enough."""
    connection.settimeout(pause)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            if connection.recv(1, socket.MSG_PEEK) is not None:
                return False  # an answer, or the end
        except TimeoutError:
            continue
        except ConnectionError:
            return False
    return True


def eventually(holds: object) -> bool:
    """Waits until the function `holds` gives true."""
    assert callable(holds)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False
