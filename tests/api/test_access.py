"""Who is answered: by the server's own names, with its key, and pages of browsers that may ask."""

import socket
from typing import Any

import pytest
from openai import AuthenticationError

from osd_edge.errors import InputError
from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.server import ApiServer, ApiSettings
from tests.api.serving import ask, client_of, port_of, refusal, running

BODY: Any = {"model": "task0", "prompt": "the", "max_tokens": 2}
PAGE = "https://notes.example"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1:1", ""])
def test_a_name_that_is_not_the_server_s_is_refused(server: ApiServer, host: str) -> None:
    """A page elsewhere could make its own name lead here, and read the answers."""
    for path, body in (("/v1/models", None), ("/v1/completions", BODY)):
        answer = ask(server, path, body, headers={"Host": host})
        assert refusal(answer) == (421, "api.host")


def test_the_server_s_own_names_are_answered(writing: EdgeSession) -> None:
    with running(writing, ApiSettings(names=("device.example", "proxy.example:443"))) as server:
        port = port_of(server)
        named = (f"127.0.0.1:{port}", f"localhost:{port}", f"device.example:{port}")
        for host in (*named, "proxy.example"):
            assert ask(server, "/v1/models", headers={"Host": host})[0] == 200
    with pytest.raises(InputError) as refused:
        ApiServer(writing, ApiSettings(names=("no name",)))
    assert refused.value.code == "input.address"


def test_a_target_may_be_a_whole_address(server: ApiServer) -> None:
    """Such as proxies are given. The name in it is the one that counts, then."""
    own = f"127.0.0.1:{port_of(server)}"
    elsewhere = {"Host": "evil.example"}
    assert ask(server, f"http://{own}/v1/models", headers=elsewhere)[0] == 200
    assert ask(server, f"HTTP://{own}/v1/models/task0?x=y")[2]["id"] == "task0"
    assert ask(server, f"http://{own}/v1/completions", BODY)[0] == 200
    assert refusal(ask(server, f"http://{own}")) == (404, "api.route")
    for other in ("evil.example", f"user@{own}", f"evil.example%2f@{own}", ""):
        answer = ask(server, f"http://{other}/v1/models", headers={"Host": own})
        assert refusal(answer) == (421, "api.host")


def test_a_key_is_asked_for_everywhere(writing: EdgeSession) -> None:
    with running(writing, ApiSettings(key="s3cret")) as server:
        for path, body in (("/v1/models", None), ("/v1/completions", BODY), ("/nowhere", None)):
            for given in ("", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "Bearer", "s3cret"):
                answer = ask(server, path, body, headers={"Authorization": given})
                assert refusal(answer) == (401, "api.key")
                assert answer[1]["www-authenticate"] == "Bearer"
        with client_of(server, key="wrong") as client, pytest.raises(AuthenticationError):
            client.models.list()
        with client_of(server, key="s3cret") as client:
            assert client.completions.create(**BODY).choices


@pytest.mark.parametrize("key", ["abcà", "abc\udcff"], ids=["space", "bytes"])
def test_a_key_may_have_any_bytes(writing: EdgeSession, key: str) -> None:
    """The last byte of one in UTF-8 is a space in Latin-1; the other's is none of UTF-8 at all."""
    with (
        running(writing, ApiSettings(key=key)) as server,
        socket.create_connection(("127.0.0.1", port_of(server))) as connection,
    ):
        head = f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{port_of(server)}\r\n"
        shown = f"{head}Authorization: Bearer {key}\r\n\r\n"
        connection.sendall(shown.encode(errors="surrogateescape"))
        assert connection.recv(64).startswith(b"HTTP/1.1 200")


def test_no_page_may_ask_unless_its_origin_is_named(
    server: ApiServer, writing: EdgeSession
) -> None:
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    answer = ask(server, "/v1/completions", method="OPTIONS", headers=asked)
    assert refusal(answer) == (405, "api.method")
    status, headers, _ = ask(server, "/v1/completions", BODY, headers={"Origin": PAGE})
    assert status == 200 and "access-control-allow-origin" not in headers
    with running(writing, ApiSettings(key="s3cret", origins=(PAGE,))) as other:
        status, headers, _ = ask(other, "/v1/completions", method="OPTIONS", headers=asked)
        assert status == 204
        assert headers["access-control-allow-origin"] == PAGE
        assert "content-type" in headers["access-control-allow-headers"]
        stranger = asked | {"Origin": "https://evil.example"}
        answer = ask(other, "/v1/completions", method="OPTIONS", headers=stranger)
        assert answer[0] == 401 and "access-control-allow-origin" not in answer[1]
        with_key = {"Origin": PAGE, "Authorization": "Bearer s3cret"}
        status, headers, _ = ask(other, "/v1/completions", BODY, headers=with_key)
        assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
        odd = asked | {"Access-Control-Request-Headers": "x\tset-cookie: y"}
        _, headers, _ = ask(other, "/v1/completions", method="OPTIONS", headers=odd)
        assert headers["access-control-allow-headers"] == ""


def test_a_page_cannot_ask_without_asking_first(server: ApiServer) -> None:
    """Browsers send such types to any server unasked, and JSON only where it lets them."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = ask(
            server, "/v1/completions", b'{"model": "task0"}', headers={"Content-Type": kind}
        )
        assert refusal(answer) == (415, "api.media-type")


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/", "GET", (404, "api.route")),
        ("/v1", "GET", (404, "api.route")),
        ("/v1/models/", "GET", (404, "api.model")),
        ("/v1/models/../../etc/passwd", "GET", (404, "api.model")),
        ("/v1/models/%2e%2e", "GET", (404, "api.model")),
        ("/v1//models", "GET", (404, "api.route")),
        ("/v1/models%00", "GET", (404, "api.route")),
        ("/v1/completions/", "POST", (404, "api.route")),
        ("/v1/models", "POST", (405, "api.method")),
        ("/v1/models", "DELETE", (405, "api.method")),
        ("/v1/models/task0", "DELETE", (405, "api.method")),
        ("/v1/chat/completions", "GET", (405, "api.method")),
    ],
)
def test_other_addresses_and_methods_are_refused(
    server: ApiServer, path: str, method: str, expected: tuple[int, str]
) -> None:
    assert refusal(ask(server, path, method=method)) == expected


def test_the_base_needs_a_name_that_no_task_has(writing: EdgeSession) -> None:
    with running(writing, ApiSettings(base_name="tiny")) as server:
        assert ask(server, "/v1/models")[2]["data"][0]["id"] == "tiny"
    for name in ("task0", "no name", ""):
        with pytest.raises(InputError) as refused:
            ApiServer(writing, ApiSettings(base_name=name))
        assert refused.value.code == "input.task-name"


def test_an_address_that_is_taken_is_refused(server: ApiServer, writing: EdgeSession) -> None:
    for settings in (ApiSettings(port=port_of(server)), ApiSettings(host="no such host")):
        with pytest.raises(InputError) as refused:
            ApiServer(writing, settings)
        assert refused.value.code == "input.address"
