"""`osd-edge serve`: what a browser gets, over real connections on loopback."""

import hashlib
import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from osd_edge.cli.serve import is_loopback, page_address, qr_code
from osd_edge.page_server import PageServer, parse_range, site_entries
from tests.cli import run_cli


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
    with PageServer(site_entries(page, tiny_base, tiny_bundles), "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


Reply = tuple[int, dict[str, str], bytes]


def get(server: PageServer, path: str, method: str = "GET", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


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
    for path in ("/../secret.txt", "/ort/../../secret.txt", "/%2e%2e/secret.txt", "//secret.txt"):
        assert get(server, path)[::2] == (404, b"")
    assert get(server, "/", "POST")[0] == 501


def test_one_slow_reader_does_not_hold_up_another(server: PageServer) -> None:
    slow = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    slow.request("GET", "/ort/ort.wasm")
    slow.getresponse()  # and its body is left unread
    assert get(server, "/catalogue.json")[0] == 200
    slow.close()


def test_with_a_certificate_it_speaks_tls(page: Path, tiny_base: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl to make a certificate")
    with PageServer(site_entries(page, tiny_base, []), "127.0.0.1", 0, (cert, key)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        context = ssl.create_default_context(cafile=str(cert))
        port = running.server_address[1]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        running.shutdown()


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
    assert run_cli(capsys, *usual, "--page", page, "--cert", "x").code == 2


def test_the_address_and_its_code() -> None:
    assert page_address("http", "127.0.0.1", 80) == "http://127.0.0.1:80/"
    assert page_address("https", "::1", 8443) == "https://[::1]:8443/"
    assert is_loopback("127.0.0.1") and is_loopback("localhost") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("phone.example")
    assert len(qr_code("http://192.168.1.2:8765/").splitlines()) > 10


def test_a_range_is_inside_the_file() -> None:
    for size in (1, 2, 10):
        for text in ("bytes=0-", "bytes=1-1", "bytes=-1", "bytes=-99", "bytes=9-99"):
            found = parse_range(text, size)
            assert found is not None
            assert 0 <= found[0] <= found[1] <= size
