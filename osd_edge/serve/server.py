"""The server of the phone page: a base package, task bundles and the page itself, over HTTP.

Only what it was given is reachable: every address is looked up in a table, so no path of a
request ever becomes a path of the disk. On loopback it answers to loopback's names alone, so that
no web page reaches it by a name of its own that was made to lead here. Whole files and single
ranges, an ETag of each file's digest, cross-origin isolation (for threads and memory figures),
many requests at once. Standard library only.
"""

import hashlib
import http.server
import ipaddress
import json
import os
import re
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from osd_edge import __version__
from osd_edge.errors import Code, InputError
from osd_edge.formats.bundle.reader import read_bundle, read_bundle_bytes, refusals_of
from osd_edge.formats.package.fits import check_fits
from osd_edge.formats.package.manifest import (
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    check_digests,
    read_manifest,
)
from osd_edge.formats.package.manifest import MODEL as GRAPH

CATALOGUE_VERSION = 1
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


@dataclass(frozen=True)
class Entry:
    """What an address gives: a file of the disk, or bytes; `tag` is the digest of either.

    `fixed` entries have their digest in the address, so they never change. `written` is when a
    file was, in nanoseconds: one that was replaced since is not what the digest says.
    """

    source: Path | bytes
    size: int
    tag: str
    fixed: bool = False
    written: int = 0

    def is_there(self) -> bool:
        """Whether the file is the one that was hashed."""
        if isinstance(self.source, bytes):
            return True
        try:
            status = self.source.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.written)


def entry_of(source: Path | bytes, digest: str | None = None, *, fixed: bool = False) -> Entry:
    """An entry, hashed unless its sha256 `digest` is known already."""
    if isinstance(source, bytes):
        return Entry(source, len(source), digest or hashlib.sha256(source).hexdigest(), fixed)
    status = source.stat()
    if digest is None:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(source, status.st_size, digest, fixed, status.st_mtime_ns)


def site_entries(page: Path, base: Path, bundles: Sequence[Path]) -> dict[str, Entry]:
    """Every address of a site: the built page in folder `page`, `base`, `bundles`, a catalogue.

    Raises BaseError, BundleError where a package or a bundle is damaged, or they do not fit;
    InputError `input.task-name` where two bundles have one task's name, `input.page` where a file
    of the page cannot be read.
    """
    manifest = read_manifest(base)
    check_digests(base, manifest)  # else every phone would find it out, after all its bytes
    depth = len(page.parts)
    try:
        entries = {
            f"/{path.relative_to(page).as_posix()}": entry_of(path)
            for path in sorted(page.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.parts[depth:])
        }
    except OSError as error:
        raise InputError(Code.INPUT_PAGE, f"cannot read the page: {error}") from error
    entries["/"] = entries["/index.html"]
    manifest_entry = entry_of(base / MANIFEST, fixed=True)
    folder = f"base/{manifest_entry.tag[:16]}/"
    entries[f"/{folder}{MANIFEST}"] = manifest_entry
    wanted = [GRAPH, WEIGHTS] + ([] if manifest.text is None else [TOKENIZER])
    for name in wanted:
        digest = str(manifest.files[name]["sha256"])
        entries[f"/{folder}{name}"] = entry_of(base / name, digest, fixed=True)
    tasks: dict[str, dict[str, Any]] = {}
    for path in bundles:
        data = read_bundle_bytes(path)
        with refusals_of(path):
            bundle = read_bundle(data)
        check_fits(bundle, manifest)
        if bundle.task in tasks:
            raise InputError(
                Code.INPUT_TASK_NAME, f"{path}: a task {bundle.task!r} is among the bundles already"
            )
        entry = entry_of(data, fixed=True)
        url = f"tasks/{entry.tag[:16]}/{bundle.task}.osd.safetensors"
        entries[f"/{url}"] = entry
        tasks[bundle.task] = {
            "task": bundle.task,
            "kind": bundle.head.kind,
            "labels": list(bundle.labels),
            "base": bundle.base,
            "url": url,
            "bytes": entry.size,
            "sha256": entry.tag,
        }
    catalogue = {
        "format": CATALOGUE_VERSION,
        "tool": f"osd-edge {__version__}",
        "base": {
            "name": os.fsencode(base.resolve().name).decode("utf-8", "replace"),
            "fingerprint": manifest.fingerprint,
            "url": folder,
            "sha256": manifest_entry.tag,
            "bytes": sum(entries[f"/{folder}{name}"].size for name in (MANIFEST, *wanted)),
        },
        "tasks": list(tasks.values()),
    }
    text = json.dumps(catalogue, indent=1, ensure_ascii=False) + "\n"
    entries["/catalogue.json"] = entry_of(text.encode())
    return entries


class PageServer(http.server.ThreadingHTTPServer):
    """Serves `entries` at `host` and `port` (0: any free one); TLS with a certificate."""

    daemon_threads = True

    def __init__(
        self,
        entries: Mapping[str, Entry],
        host: str,
        port: int,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Bind; raises InputError `input.address` where that cannot be done."""
        self.entries = dict(entries)
        self.loopback = is_loopback(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
            if certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*certificate)
                # The handshake is done by the thread of the request, not by the one that accepts.
                self.socket = context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )
        except (OSError, OverflowError, UnicodeError) as error:
            raise InputError(
                Code.INPUT_ADDRESS, f"cannot serve at {host} port {port}: {error}"
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line; none for a phone that goes out of reach and breaks its connection."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            print(f"a request from {client_address[0]} failed: {error}", file=sys.stderr)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, an address or a name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
        """Quiet: a page asks for dozens of pieces."""

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
    """Begin and end of the one range that a header asks for; equal where no byte is in it.

    None for what is no single range of bytes: such a header is passed over (RFC 9110, 14.2).

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
