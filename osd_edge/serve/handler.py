"""Answers the requests of one connection from a table of addresses, and from it alone.

Only what it was given is reachable: every address is looked up in the table, so no path of a
request ever becomes a path of the disk. Whole files and single ranges, an ETag of each file's
digest, cross-origin isolation (for threads and memory figures).
"""

import http
import http.server
import io
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from socketserver import BaseServer
from typing import Any, BinaryIO

from osd_edge import __version__
from osd_edge.serve.limits import Limits
from osd_edge.serve.own_names import OwnNames
from osd_edge.serve.ranges import parse_range
from osd_edge.serve.served_file import ServedFile
from osd_edge.serve.target import parse_target
from osd_edge.serve.timed_connection import HeadTooLongError, TimedConnection

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
# The page has it in itself too, for web servers that send no headers of their own: its index.html
# says the same without `frame-ancestors`, which browsers take from a header alone.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": POLICY,
}
_VERSION = re.compile(r"HTTP/1\.\d")
_METHODS = {"Allow": "GET, HEAD"}
# None of them tells addresses or files: whoever is refused may be a page that is to know nothing.
_WHY = {
    HTTPStatus.BAD_REQUEST: "The request is malformed.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Files are served here: GET and HEAD are what there is.",
    HTTPStatus.NOT_IMPLEMENTED: "Files are served here: GET and HEAD are what there is.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come in time.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "No address here is that long.",
    HTTPStatus.MISDIRECTED_REQUEST: (
        "This server does not go by that name. Open the address that 'osd-edge serve' printed, or "
        "start it with --name and the name that you use."
    ),
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "Expected HTTP/1.1.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are too many or too long.",
}


@dataclass(frozen=True)
class Served:
    """All that a request is answered from: the table of addresses, the server's own names."""

    entries: Mapping[str, ServedFile]
    names: OwnNames
    limits: Limits


class PageHandler(http.server.BaseHTTPRequestHandler):
    """Handles one connection; `http.server` reads the heads and writes those of the answers."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # where none is named: older than that is refused
    server_version = f"osd-edge/{__version__}"
    sys_version = ""

    def __init__(
        self, served: Served, request: socket.socket, client_address: Any, server: BaseServer
    ) -> None:
        """Answers until the connection ends."""
        self.served = served
        # What an answer needs to know of a request, where none was read.
        self.request_version = self.default_request_version
        self.requestline = ""
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        """Puts the limits of time between the socket and `http.server`."""
        self.connection = self.request
        self.timed = TimedConnection(self.connection, self.served.limits)
        self.last_at = time.monotonic() + self.served.limits.connection_seconds
        self.wfile = self.timed

    def finish(self) -> None:
        """Ends the connection; the server closes the socket."""
        self.timed.say_goodbye()

    def handle_one_request(self) -> None:
        """Reads one request within the limits, and answers it."""
        self.close_connection = True
        self.command = ""
        try:
            head = self.timed.read_head()
        except TimeoutError:
            self.send_error(HTTPStatus.REQUEST_TIMEOUT)
            return
        except HeadTooLongError as error:
            self.send_error(
                HTTPStatus.REQUEST_URI_TOO_LONG
                if error.in_target
                else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )
            return
        if not head:
            return
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline.strip():
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif self.parse_request():
            self._answer_checked()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses the request with a sentence of its own, and ends the connection."""
        self._refuse(HTTPStatus(code))

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a page asks for dozens of pieces."""

    def _answer_checked(self) -> None:
        """Refuses what is malformed or for another server, and answers the rest."""
        hosts = self.headers.get_all("Host", [])
        if time.monotonic() >= self.last_at:
            self.close_connection = True  # so that nobody keeps a thread by asking anew for ever
        if any(name in self.headers for name in ("Content-Length", "Transfer-Encoding")):
            self.close_connection = True  # a body, which is not read, is not the next request
        if _VERSION.fullmatch(self.request_version) is None:
            self.request_version = self.default_request_version
            self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        elif self.command not in ("GET", "HEAD"):
            known = self.command in http.HTTPMethod.__members__
            self._refuse(
                HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_IMPLEMENTED, _METHODS
            )
        elif len(self.path) > self.served.limits.target_bytes:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif len(hosts) != 1 or self.headers.defects:  # lines that are no headers
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif not self._is_own(hosts[0].strip(" \t")):
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        else:
            target = parse_target(self.path)
            if target is None or not (target[1] is None or self._is_own(target[1])):
                self._refuse(HTTPStatus.BAD_REQUEST)
            else:
                self._answer(target[0])

    def _is_own(self, host: str) -> bool:
        return self.served.names.has(host, self.connection.getsockname()[0])

    def _answer(self, path: str) -> None:
        entry = self.served.entries.get(path)
        if entry is None:
            self._send_head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        with entry.open() as file:
            if file is None:
                self._send_head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            else:
                self._answer_file(path, entry, file)

    def _answer_file(self, path: str, entry: ServedFile, file: BinaryIO) -> None:
        kind = ".html" if path == "/" else Path(path).suffix
        headers = {
            "Content-Type": _TYPES.get(kind, "application/octet-stream"),
            "Accept-Ranges": "bytes",
            "ETag": f'"{entry.tag}"',
            "Cache-Control": "public, max-age=31536000, immutable" if entry.fixed else "no-cache",
        }
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
        if self.command == "GET":
            for chunk in _chunks(file, begin, end, self.served.limits.piece_bytes):
                self.wfile.write(chunk)
                begin += len(chunk)
            if begin < end:  # the file was cut short: no more bytes are to be waited for
                self.close_connection = True

    def _refuse(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        """Answers with the sentence of `status`, and ends the connection."""
        body = f"{_WHY.get(status, status.phrase)}\n".encode()
        self.close_connection = True
        self._send_head(
            status,
            {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
            | dict(headers or {}),
        )
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | dict(headers)).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def _chunks(file: BinaryIO, begin: int, end: int, size: int) -> Iterator[bytes]:
    file.seek(begin)
    while begin < end:
        chunk = file.read(min(size, end - begin))
        if not chunk:
            return
        yield chunk
        begin += len(chunk)
