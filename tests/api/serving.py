"""API servers on loopback, and OpenAI's clients of them."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

from openai import OpenAI

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.server import ApiServer, ApiSettings

# For what is to end in a second or so: far more than a busy machine needs.
PATIENCE = 60
Answered = tuple[int, dict[str, str], Any]


@contextmanager
def running(
    session: EdgeSession, settings: ApiSettings | None = None, **limits: Any
) -> Iterator[ApiServer]:
    """A server in a thread; `limits` are fields of `ApiLimits`."""
    settings = settings or ApiSettings()
    quick = {"ending_seconds": 0.2} | limits
    with ApiServer(session, replace(settings, limits=ApiLimits(**quick))) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(PATIENCE)
        assert not thread.is_alive()


def client_of(server: ApiServer, key: str = "any") -> OpenAI:
    """OpenAI's client, which asks once."""
    return OpenAI(base_url=server.address, api_key=key, max_retries=0, timeout=PATIENCE)


def port_of(server: ApiServer) -> int:
    """The port that a server listens at."""
    return int(server.address.split(":")[2].split("/")[0])


def ask(
    server: ApiServer,
    path: str,
    body: object = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answered:
    """Status, headers (in small letters) and JSON of an answer; `body` is JSON, or bytes."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if body is not None else {}
    with closing(HTTPConnection("127.0.0.1", port_of(server), timeout=PATIENCE)) as connection:
        how = method or ("GET" if body is None else "POST")
        connection.request(how, path, data, given | dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, json.loads(text) if text else None


def refusal(answer: Answered) -> tuple[int, str]:
    """Status and code of an answer that refuses, in the form that OpenAI's clients read."""
    status, _, value = answer
    assert set(value) == {"error"} and set(value["error"]) == {"message", "type", "param", "code"}
    return status, value["error"]["code"]


def connect(server: ApiServer) -> socket.socket:
    """A connection without a request."""
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE)


def request(server: ApiServer, path: str, body: bytes, *lines: str) -> bytes:
    """The bytes of a request with a body of JSON, and more lines of its head."""
    head = (
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port_of(server)}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
    )
    return "\r\n".join((*head, "", "")).encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Reads until the server ends the connection, politely or not."""
    found = bytearray()
    try:
        while data := connection.recv(1 << 16):
            found += data
    except ConnectionError:
        pass
    return bytes(found)


def eventually(holds: Callable[[], object]) -> bool:
    """Waits until the function `holds` gives true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False
