"""The HTTP server of the phone page: takes a table of addresses and answers from it alone.

Only what it was given is reachable: every address is looked up in the table, so no path of a
request ever becomes a path of the disk. On loopback it answers to loopback's names alone, so that
no web page reaches it by a name of its own that was made to lead here. Whole files and single
ranges, an ETag of each file's digest, cross-origin isolation (for threads and memory figures),
many requests at once. Standard library only.
"""

import http.server
import re
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from osd_edge import __version__
from osd_edge.errors import Code, InputError
from osd_edge.serve.addresses import is_loopback
from osd_edge.serve.served_file import ServedFile

_CHUNK = 1 << 18
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


class PageServer(http.server.ThreadingHTTPServer):
    """Serves `entries`, a table by address, at `host` and `port` (0: any free one).

    With `certificate`, the PEM files of a certificate and its key, it speaks TLS.
    """

    daemon_threads = True

    def __init__(
        self,
        entries: Mapping[str, ServedFile],
        host: str,
        port: int,
        certificate: tuple[str | Path, str | Path] | None = None,
    ) -> None:
        """Binds the address; raises InputError `input.address` where that cannot be done."""
        self.entries = dict(entries)
        try:
            self.loopback = is_loopback(host)
            self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            super().__init__((host, port), _Handler)
            if certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*certificate)
                # The handshake is done by the thread of the request, not by the one that accepts.
                self.socket = context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )
        except (OSError, OverflowError, TypeError, UnicodeError) as error:
            raise InputError(
                Code.INPUT_ADDRESS, f"cannot serve at {host} port {port}: {error}"
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints one line; none for a phone that goes out of reach and breaks its connection."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            print(f"a request from {client_address[0]} failed: {error}", file=sys.stderr)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"osd-edge/{__version__}"
    sys_version = ""
    timeout = 60  # seconds that a connection may be idle
    server: PageServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a page asks for dozens of pieces."""

    def _answer(self, *, body: bool) -> None:
        if {"Content-Length", "Transfer-Encoding"} & set(self.headers):
            self.close_connection = True  # a body, which is not read, is not the next request
        named = self.headers.get("Host", "localhost")
        host = re.sub(r":\d*$", "", named).strip("[]").lower().removesuffix(".")
        if self.server.loopback and not is_loopback(host):
            self._send_head(HTTPStatus.MISDIRECTED_REQUEST, {"Content-Length": "0"})
            return
        path = unquote(urlsplit(self.path).path)
        entry = self.server.entries.get(path)
        if entry is None or not entry.is_there():
            self._send_head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        headers = {
            "Content-Type": _TYPES.get(Path(path).suffix, "application/octet-stream"),
            "Accept-Ranges": "bytes",
            "ETag": f'"{entry.tag}"',
            "Cache-Control": "public, max-age=31536000, immutable" if entry.fixed else "no-cache",
        }
        if path == "/":
            headers["Content-Type"] = _TYPES[".html"]
        if f'"{entry.tag}"' in self.headers.get("If-None-Match", ""):
            self._send_head(HTTPStatus.NOT_MODIFIED, headers)
            return
        begin, end = 0, entry.size
        status = HTTPStatus.OK
        asked = self.headers.get("Range")
        if asked is not None and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            found = parse_range(asked, entry.size)
            if found is not None and found[0] == found[1]:
                headers["Content-Range"] = f"bytes */{entry.size}"
                headers["Content-Length"] = "0"
                self._send_head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
                return
            if found is not None:
                begin, end = found
                status = HTTPStatus.PARTIAL_CONTENT
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{entry.size}"
        headers["Content-Length"] = str(end - begin)
        self._send_head(status, headers)
        if body:
            sent = 0
            for chunk in _chunks(entry.source, begin, end):
                self.wfile.write(chunk)
                sent += len(chunk)
            if sent < end - begin:  # the file was cut short: no more bytes are to be waited for
                self.close_connection = True

    def _send_head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Reads the one range that a header asks for: begin and end, equal where no byte is in it.

    Gives None for whatever is no single range of bytes: such a header is passed over
    (RFC 9110, 14.2).

    >>> parse_range("bytes=2-", 10), parse_range("bytes=-3", 10), parse_range("bytes=10-", 10)
    ((2, 10), (7, 10), (10, 10))
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1], match[2]
    if first == "":
        begin, end = max(size - int(last), 0), size
    elif last == "":
        begin, end = int(first), size
    elif int(first) <= int(last):
        begin, end = int(first), int(last) + 1
    else:
        return None
    return min(begin, size), min(end, size)


def _chunks(source: Path | bytes, begin: int, end: int) -> Iterable[bytes]:
    if isinstance(source, bytes):
        yield source[begin:end]
        return
    with source.open("rb") as file:
        file.seek(begin)
        while begin < end:
            chunk = file.read(min(_CHUNK, end - begin))
            if not chunk:
                return
            yield chunk
            begin += len(chunk)
