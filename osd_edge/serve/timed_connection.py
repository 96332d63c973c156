"""A connection whose reads and writes end in time, however slowly the other side goes."""

import contextlib
import io
import re
import socket
import time
from typing import TYPE_CHECKING

from osd_edge.serve.limits import Limits

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READ = 1 << 16
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class HeadTooLongError(Exception):
    """The head of a request has more bytes than it may; `in_target`: in its first line already."""

    def __init__(self, *, in_target: bool) -> None:
        """Takes where the bytes ran out."""
        super().__init__("the head of a request is too long")
        self.in_target = in_target


class TimedConnection(io.BufferedIOBase):
    """Reads heads of requests from a socket, and writes answers to it, within `limits`.

    A timeout of a socket alone would begin anew with every byte.
    """

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        """Takes a connected socket, of TLS or not; closing it stays the caller's."""
        self._socket = connection
        self._limits = limits
        self._received = b""
        with contextlib.suppress(OSError):  # whoever is gone already has no use for either
            # Else the system takes megabytes at once, and then none for longer than a piece may.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.piece_bytes)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_head(self) -> bytes:
        """Reads the head of the next request, with the empty line at its end.

        Gives b"" where the connection ended, or nothing came in time. Raises TimeoutError where
        only part of it came in time, HeadTooLongError.
        """
        deadline = time.monotonic() + self._limits.head_seconds
        looked_at = 0
        while True:
            end = _END_OF_HEAD.search(self._received, max(looked_at - 3, 0))
            size = len(self._received) if end is None else end.end()
            if size > self._limits.head_bytes:
                first = self._received.find(b"\n")
                raise HeadTooLongError(in_target=not 0 <= first < self._limits.head_bytes)
            if end is not None:
                head, self._received = self._received[:size], self._received[size:]
                return head
            looked_at = size
            try:
                data = self._receive(deadline)
            except TimeoutError:
                if self._received:
                    raise
                data = b""
            if not data:
                return b""
            self._received += data

    def writable(self) -> bool:
        """Says that it can be written to."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Sends all of `data`; raises TimeoutError where a piece of it is not taken in time."""
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), self._limits.piece_bytes):
            piece = view[begin : begin + self._limits.piece_bytes]
            deadline = time.monotonic() + self._limits.piece_seconds
            while piece:
                self._wait_until(deadline)
                piece = piece[self._socket.send(piece) :]
        return len(view)

    def say_goodbye(self) -> None:
        """Ends the connection so that the last answer arrives.

        A socket that is closed with unread bytes takes back what it sent last.
        """
        deadline = time.monotonic() + self._limits.goodbye_seconds
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self._receive(deadline):
                pass

    def _receive(self, deadline: float) -> bytes:
        self._wait_until(deadline)
        return self._socket.recv(_READ)

    def _wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
