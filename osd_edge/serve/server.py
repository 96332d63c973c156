"""The HTTP server of the phone page: serves a table of addresses, a thread a connection.

It answers to its own names alone, and bounds the time, the size and the number of all that it is
sent. docs/phones.md says why it stands on the standard library's `http.server`.
"""

import contextlib
import socket
import socketserver
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from osd_edge.errors import Code, InputError
from osd_edge.serve.addresses import is_address, page_address
from osd_edge.serve.handler import PageHandler, Served
from osd_edge.serve.limits import Limits
from osd_edge.serve.open_connections import OpenConnections
from osd_edge.serve.own_names import OwnNames
from osd_edge.serve.served_file import ServedFile

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 20\r\nConnection: close\r\n\r\n"
    b"There are as many connections as the server takes. Try again in a while.\n"
)


@dataclass(frozen=True)
class Endpoint:
    """A place to listen at, `host` and `port` (0: any free one), and other names of the server.

    With `certificate`, the PEM files of a certificate and its key, it speaks TLS. `names` are
    those by which browsers reach it beside its address; the first is the one to open.
    """

    host: str
    port: int
    certificate: tuple[str | Path, str | Path] | None = None
    names: tuple[str, ...] = ()


class PageServer(socketserver.ThreadingTCPServer):
    """Serves `entries`, a table by address, at an endpoint and within limits."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # where it would share the port with another
    request_queue_size = 128  # browsers open several at once, and so do phones that come back

    def __init__(
        self,
        entries: Mapping[str, ServedFile],
        endpoint: Endpoint,
        limits: Limits | None = None,
    ) -> None:
        """Binds the address; raises InputError `input.address` where that cannot be done."""
        self.endpoint = endpoint
        limits = limits or Limits()
        self._open = OpenConnections(limits)
        host, names = endpoint.host, endpoint.names
        try:
            self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            super().__init__((host, endpoint.port), socketserver.BaseRequestHandler)
        except (OSError, OverflowError, TypeError, UnicodeError) as error:
            raise _cannot_serve(endpoint, error) from error
        try:
            # An address needs not be named: a connection tells the one that it came to.
            named = names if host == "" or is_address(host) else (*names, host)
            self._names = OwnNames(named, self.server_address[1])
            served = Served(dict(entries), self._names, limits)
            self.RequestHandlerClass = partial(PageHandler, served)
            if endpoint.certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*endpoint.certificate)
                # The handshake is done by the thread of the request, not by the one that accepts.
                self.socket = context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )
        except (OSError, TypeError) as error:
            self.server_close()
            raise _cannot_serve(endpoint, error) from error
        except InputError:
            self.server_close()
            raise

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        host, port = self.endpoint.host, self.server_address[1]
        if self.endpoint.names:
            host, port = self._names.first
        secure = self.endpoint.certificate is not None or port == 443  # a proxy's
        return page_address("https" if secure else "http", host, port)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives the connection a thread, or turns it away where there are too many."""
        if not self._open.add(client_address[0]):
            if not isinstance(request, ssl.SSLSocket):
                with contextlib.suppress(OSError):
                    request.settimeout(0)  # its buffer is empty; nobody is waited for here
                    request.send(_FULL)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._open.remove(client_address[0])
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection in its thread until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.remove(client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints one line; none for a phone that goes out of reach and breaks its connection."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            print(f"a request from {client_address[0]} failed: {error}", file=sys.stderr)


def _cannot_serve(endpoint: Endpoint, error: Exception) -> InputError:
    return InputError(
        Code.INPUT_ADDRESS,
        f"cannot serve at {endpoint.host} port {endpoint.port}: {error}; give another "
        "--host, --port or certificate",
    )
