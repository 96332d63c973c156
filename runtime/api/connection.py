"""A connection of uvicorn's, with the bounds that uvicorn lacks.

uvicorn bounds neither the time of a request's head, nor how slowly an answer is taken, nor how many
connections there are, of one address or in all. docs/api.md has what a client meets.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from osd_edge.errors import ApiError, Code
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.statuses import error_object, status_of
from osd_edge.serve.open_connections import OpenConnections


class BoundedConnection(H11Protocol):
    """A connection that ends in time, however slowly the other side goes."""

    def __init__(
        self, *given: Any, limits: ApiLimits, open_connections: OpenConnections, **named: Any
    ) -> None:
        """Takes the bounds, and the count of connections, beside what uvicorn gives."""
        super().__init__(*given, **named)
        self._limits = limits
        self._open = open_connections
        self._address: str | None = None  # while it is counted
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._ends = False  # what comes now is not read any more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection, or turns it away where there are too many."""
        super().connection_made(transport)
        # Else the system takes megabytes at once, and nobody knows whether they are read.
        own: socket.socket = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.stall_bytes)
        address = self.client[0] if self.client else ""
        if self._open.add(address):
            self._address = address
            self._expect_head()
        else:
            message = "expected fewer connections than there are: try again in a while"
            self._refuse(ApiError(Code.API_BUSY, message))

    def data_received(self, data: bytes) -> None:
        """Reads on, unless the connection is ending."""
        if not self._ends:
            super().data_received(data)

    def handle_events(self) -> None:
        """Takes what came; a whole head ends the time that there is for it."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            _stop(self._head_timer)
        if self.cycle and not self.cycle.response_complete and self.conn.their_state is h11.DONE:
            # The next request waits. uvicorn would read no further, and so not see a client leave.
            if len(self.conn.trailing_data[0]) > self._limits.head_bytes:
                self.transport.abort()
            else:
                self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Gives the next request its time."""
        self._expect_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Gives the client its time to take what is written already."""
        super().pause_writing()
        self._stall_timer = self._in(self._limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on, once it has."""
        _stop(self._stall_timer)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts one less."""
        _stop(self._head_timer)
        _stop(self._stall_timer)
        if self._address is not None:
            self._open.remove(self._address)
            self._address = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, in JSON as all else."""
        error = sys.exception()  # that uvicorn calls this for
        if getattr(error, "error_status_hint", 400) == 431:
            most = self._limits.head_bytes
            message = f"expected the head of a request within {most} bytes: shorten it"
            self._refuse(ApiError(Code.API_HEAD_LENGTH, message))
        else:
            self._refuse(ApiError(Code.API_HEAD, f"expected a request of HTTP/1.1: {error}"))

    def _expect_head(self) -> None:
        _stop(self._head_timer)
        self._head_timer = self._in(self._limits.head_seconds, self._head_too_slow)

    def _head_too_slow(self) -> None:
        begun = self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]
        if begun and not self.transport.is_closing():
            seconds = self._limits.head_seconds
            message = f"expected the head of a request within {seconds:g} seconds"
            self._refuse(ApiError(Code.API_SLOW, message))
        else:
            self.transport.abort()

    def _refuse(self, error: ApiError) -> None:
        """Answers with a refusal, and ends the connection soon: a client may still be sending."""
        self._ends = True
        _stop(self._head_timer)
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what it would answer has no place any more
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        body = json.dumps(error_object(error)).encode()
        again = b"Retry-After: 1\r\n" if error.code == Code.API_BUSY else b""
        self.transport.write(
            b"HTTP/1.1 %d \r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"%bConnection: close\r\n\r\n%b" % (status_of(error), len(body), again, body)
        )
        # A socket that is closed with unread bytes takes back what it sent last.
        self.transport.write_eof()
        self._in(self._limits.goodbye_seconds, self.transport.abort)

    def _in(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, call)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
