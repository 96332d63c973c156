"""`osd-edge serve`: what a browser gets, over real connections on loopback."""

import hashlib
import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from osd_edge.cli.serve import how_to_reach, qr_code
from osd_edge.errors import BaseError
from osd_edge.serve.addresses import is_loopback, page_address
from osd_edge.serve.catalogue import served_files
from osd_edge.serve.ranges import parse_range
from osd_edge.serve.served_file import served_file
from osd_edge.serve.server import Endpoint, PageServer
from tests.serve.serving import get, running, send
from tests.support.command_line import run_cli


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page, as far as the server is concerned."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>page</title>", "utf-8")
    (folder / "ort").mkdir()
    (folder / "ort" / "ort.wasm").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture(scope="module")
def server(page: Path, tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> Iterator[PageServer]:
    with running(served_files(page, tiny_base, tiny_bundles)) as serving:
        yield serving


def test_page_base_tasks_and_catalogue(
    server: PageServer, tiny_base: Path, tiny_bundles: tuple[Path, Path]
) -> None:
    status, headers, body = get(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>page" in body
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get(server, "/ort/ort.wasm")[1]["Content-Type"] == "application/wasm"
    catalogue = json.loads(get(server, "/catalogue.json")[2])
    assert [task["kind"] for task in catalogue["tasks"]] == ["labels", "labels"]
    total = 0
    for name in ("manifest.json", "model.onnx", "model.onnx.data", "tokenizer.json"):
        status, headers, body = get(server, f"/{catalogue['base']['url']}{name}")
        assert (status, body) == (200, (tiny_base / name).read_bytes())
        assert "immutable" in headers["Cache-Control"]
        total += len(body)
    assert catalogue["base"]["bytes"] == total
    assert [task["task"] for task in catalogue["tasks"]] == ["first", "second"]
    for task, path in zip(catalogue["tasks"], tiny_bundles, strict=True):
        body = get(server, f"/{task['url']}")[2]
        assert body == path.read_bytes()
        assert task["sha256"] == hashlib.sha256(body).hexdigest()
        assert task["bytes"] == len(body)


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=250-", 206, slice(250, 256)),
        ("bytes=-6", 206, slice(250, 256)),
        ("bytes=200-9999", 206, slice(200, 256)),
        ("bytes=5-4", 200, slice(0, 256)),  # no range at all: passed over
        ("bytes=0-1,4-5", 200, slice(0, 256)),
        ("lines=0-1", 200, slice(0, 256)),
        ("bytes=256-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
    ],
)
def test_ranges(server: PageServer, asked: str, status: int, expected: slice) -> None:
    whole = bytes(range(256))
    found, headers, body = get(server, "/ort/ort.wasm", Range=asked)
    assert (found, body) == (status, whole[expected])
    if status == 206:
        last = expected.stop - 1
        assert headers["Content-Range"] == f"bytes {expected.start}-{last}/256"


def test_a_range_of_another_version_is_the_whole_file(server: PageServer) -> None:
    tag = get(server, "/ort/ort.wasm", "HEAD")[1]["ETag"]
    assert get(server, "/ort/ort.wasm", Range="bytes=0-9", If_Range=tag)[0] == 206
    assert get(server, "/ort/ort.wasm", Range="bytes=0-9", If_Range='"other"')[0] == 200
    assert get(server, "/ort/ort.wasm", If_None_Match=tag)[::2] == (304, b"")


def test_no_address_reaches_another_file(server: PageServer, page: Path) -> None:
    (page.parent / "secret.txt").write_text("secret", "utf-8")
    for path in ("//secret.txt", "/ort/", "/ort/...", "/etc/passwd"):
        assert get(server, path)[::2] == (404, b"")


def test_one_slow_reader_does_not_hold_up_another(
    page: Path, tiny_base: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(page, tmp_path / "page")
    (own / "large").write_bytes(bytes(1 << 25))  # more than the buffers between both ends hold
    with running(served_files(own, tiny_base, [])) as server:
        slow = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
        slow.request("GET", "/large")
        slow.getresponse()  # and its body is left unread
        assert get(server, "/catalogue.json")[0] == 200
        slow.close()


def test_a_file_replaced_under_the_server_is_not_there(
    page: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Its address is that of other bytes, which a phone would keep for ever."""
    own = shutil.copytree(page, tmp_path / "page")
    with running(served_files(own, tiny_base, [])) as server:
        assert get(server, "/ort/ort.wasm")[0] == 200
        (own / "ort" / "ort.wasm").write_bytes(b"another build")
        assert get(server, "/ort/ort.wasm")[::2] == (404, b"")


def test_the_server_needs_no_more_than_a_table() -> None:
    with running({"/": served_file(b"page"), "/data.json": served_file(b"{}")}) as server:
        assert get(server, "/")[::2] == (200, b"page")
        assert get(server, "/data.json")[::2] == (200, b"{}")
        assert get(server, "/catalogue.json")[0] == 404


def test_a_damaged_base_is_not_served(page: Path, tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    weights = base / "model.onnx.data"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(BaseError) as refused:
        served_files(page, base, [])
    assert refused.value.code == "base.digest"


def test_with_a_certificate_it_speaks_tls(page: Path, tiny_base: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl to make a certificate")
    with running(
        served_files(page, tiny_base, []), Endpoint("127.0.0.1", 0, (cert, key))
    ) as server:
        context = ssl.create_default_context(cafile=str(cert))
        port = server.server_address[1]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_refusals_of_the_command(
    capsys: pytest.CaptureFixture[str],
    page: Path,
    server: PageServer,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    usual = ("serve", "--base", tiny_base, "--bundle", tiny_bundles[0])
    result = run_cli(capsys, *usual, "--page", tmp_path)
    assert result.code == 1
    assert "make web-page" in result.err and "[input.page]" in result.err
    result = run_cli(capsys, *usual, "--page", page, "--bundle", tiny_bundles[0])
    assert result.code == 1 and "[input.task-name]" in result.err
    port = server.server_address[1]
    result = run_cli(capsys, *usual, "--page", page, "--port", port)
    assert result.code == 1 and "[input.address]" in result.err
    result = run_cli(capsys, *usual, "--page", page, "--host", "a..b")
    assert result.code == 1 and "[input.address]" in result.err
    result = run_cli(capsys, *usual, "--page", page, "--port", 0, "--name", "a b")
    assert result.code == 1 and "[input.address]" in result.err
    assert run_cli(capsys, *usual, "--page", page, "--cert", "x").code == 2


def test_the_address_and_its_code() -> None:
    assert page_address("http", "127.0.0.1", 80) == "http://127.0.0.1:80/"
    assert page_address("https", "::1", 8443) == "https://[::1]:8443/"
    assert is_loopback("127.0.0.1") and is_loopback("localhost") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("phone.example")
    assert len(qr_code("http://192.168.1.2:8765/").splitlines()) > 10


def test_odd_requests(page: Path, tiny_base: Path, tiny_bundles: tuple[Path, Path]) -> None:
    (page / "a b.js").write_text("1", "utf-8")
    (page / ".hidden").write_text("1", "utf-8")
    with running(served_files(page, tiny_base, tiny_bundles)) as server:
        port = server.server_address[1]
        assert get(server, "/a%20b.js")[0] == 200
        assert get(server, "/a%20b.js?version=1")[0] == 200
        assert get(server, "/.hidden")[0] == 404
        assert get(server, f"http://localhost:{port}/index.html")[0] == 200
        assert get(server, "/", Host=f"LOCALHOST.:{port}")[0] == 200
        assert get(server, "/index.html", Range="Bytes=0-3")[0] == 206


@pytest.mark.parametrize(
    "name", ["Content-Length: 44", "content-length: 44", "Transfer-Encoding: x"]
)
def test_a_body_is_not_taken_for_the_next_request(server: PageServer, name: str) -> None:
    host = f"Host: 127.0.0.1:{server.server_address[1]}\r\n"
    head = f"GET / HTTP/1.1\r\n{host}{name}\r\n\r\n"
    answer = send(server, f"{head}GET / HTTP/1.1\r\n{host}\r\n".encode())
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


def test_what_a_phone_needs_is_said() -> None:
    (line,) = how_to_reach("127.0.0.1", "http://127.0.0.1:8765/", secure=False)
    assert "--host 0.0.0.0" in line and "adb reverse tcp:8765 tcp:8765" in line
    (line,) = how_to_reach("0.0.0.0", "http://192.168.1.2:8765/", secure=False)
    assert "--cert" in line
    (line,) = how_to_reach("0.0.0.0", "https://127.0.0.1:8765/", secure=True)
    assert "no network" in line
    assert how_to_reach("0.0.0.0", "https://192.168.1.2:8765/", secure=True) == []


def test_a_range_is_inside_the_file() -> None:
    for size in (1, 2, 10):
        for text in ("bytes=0-", "bytes=1-1", "bytes=-1", "bytes=-99", "bytes=9-99"):
            found = parse_range(text, size)
            assert found is not None
            assert 0 <= found[0] <= found[1] <= size
