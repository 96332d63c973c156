"""Requests that are none: each is refused by its own status, in a sentence, and nothing is sent."""

from collections.abc import Iterator

import pytest

from osd_edge.serve.served_file import served_file
from osd_edge.serve.server import PageServer
from osd_edge.serve.target import parse_target
from tests.serve.serving import request, running, send, status_of


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    entries = {path: served_file(b"secret") for path in ("/", "/a", "/ä", "/a/b")}
    with running(entries) as serving:
        yield serving


@pytest.mark.parametrize(
    "target",
    [
        "a",
        "*",
        "?a",
        "/../a",
        "/a/..",
        "/a/./b",
        "/%2e%2e/a",
        "/.%2E/a",
        "/a%2fb",
        "/a\\b",
        "/a%5cb",
        "/a%00",
        "/a\0",
        "/a\x01",
        "/a%0d%0aX:%20y",
        "/a%",
        "/a%4",
        "/a%zz",
        "/%ff",
        "/%c0%af",
        "/\xe4",
        "/a#b",
        '/a"',
        "/a?b=%g0",
        "/a?b=\xe4",
        "http:///a",
        "http://example.org/a",
        "http://user@127.0.0.1/a",
        "ftp://127.0.0.1/a",
        "https:a",
        "/a b",
    ],
)
def test_a_malformed_target_is_refused(server: PageServer, target: str) -> None:
    answer = send(server, request(server, target=target))
    assert status_of(answer) == 400
    assert answer.endswith(b"The request is malformed.\n")
    assert b"Connection: close" in answer and b"Content-Security-Policy" in answer


def test_a_target_that_is_well_formed_is_read() -> None:
    for target, path in [
        ("/", "/"),
        ("/a//b", "/a//b"),
        ("/%C3%A4", "/ä"),
        ("/a?b=/c?d", "/a"),
        ("/a;b,c=d@e:f!", "/a;b,c=d@e:f!"),
        ("/..a/b..", "/..a/b.."),
    ]:
        assert parse_target(target) == (path, None)
    assert parse_target("HTTP://Host:1") == ("/", "Host:1")


@pytest.mark.parametrize(
    ("method", "status"),
    [
        *(("POST", 405), ("PUT", 405), ("DELETE", 405), ("OPTIONS", 405), ("CONNECT", 405)),
        *(("get", 501), ("BREW", 501), ("__init__", 501), ("PRI", 501)),
    ],
)
def test_a_method_that_reads_no_file_is_refused(
    server: PageServer, method: str, status: int
) -> None:
    answer = send(server, request(server, method=method))
    assert status_of(answer) == status
    assert b"Allow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"GET / HTTP/1.1 x\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\nHost: HOST\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: HOST\r\n\r\n", 505),
        (b"GET / HTTP/one\r\nHost: HOST\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length : 5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\n: empty\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n", 400),  # TLS, or something of the kind
    ],
)
def test_a_malformed_head_is_refused(server: PageServer, head: bytes, status: int) -> None:
    own = b"127.0.0.1:%d" % server.server_address[1]
    answer = send(server, head.replace(b"HOST", own))
    assert status_of(answer) == status
    assert b"secret" not in answer


def test_a_refusal_has_no_body_where_none_was_asked_for(server: PageServer) -> None:
    answer = send(server, request(server, method="HEAD", target="/a%"))
    assert status_of(answer) == 400
    assert answer.endswith(b"\r\n\r\n")
