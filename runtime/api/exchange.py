"""One request and its answer, over ASGI: JSON in, and JSON or server-sent events out."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from osd_edge.errors import ApiError, Code, shown
from osd_edge.runtime.api.limits import ApiLimits

Sent = Mapping[str, Any]
Receive = Callable[[], Awaitable[Sent]]
Send = Callable[[Sent], Awaitable[None]]
Header = tuple[str, str]

# A target with the server's name in it, which stands for the header then (RFC 9112, 3.2.2).
_ABSOLUTE = re.compile(r"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_JSON = ("Content-Type", "application/json")
_ENDS = ("\x85", "\u2028", "\u2029")  # at which some clients end the line of an event
_EVENTS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # proxies else keep pieces until there are many
)


class LeftError(Exception):
    """The client has left: nobody is there to be answered."""


class Exchange:
    """A request, and the answer that is sent to it.

    Attributes:
        method: Its method, such as `POST`.
        path: The address, without what stands behind a `?`.
        host: The name of the server that is asked, with its port.
        begun: Whether an answer has begun.
        headers: More headers of the answer, which it is given before.
    """

    def __init__(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, limits: ApiLimits
    ) -> None:
        """Takes what ASGI gives for a request."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.begun = False
        self.headers: list[Header] = []
        self._scope, self._receive, self._send = scope, receive, send
        self._limits = limits
        self.host = self.header("host")
        absolute = _ABSOLUTE.fullmatch(self.path)
        if absolute is not None:
            self.host, self.path = absolute[1], absolute[2] or "/"

    @property
    def arrived_at(self) -> str:
        """The server's address that the connection came to."""
        server = self._scope.get("server")
        return str(server[0]) if server else ""

    def header(self, name: str) -> str:
        """A header of the request, empty where there is none."""
        wanted = name.lower().encode()
        return next((v.decode("latin-1") for k, v in self._scope["headers"] if k == wanted), "")

    async def json(self) -> dict[str, Any]:
        """Reads the body, a JSON object.

        Raises ApiError `api.media-type`, `api.body-length`, `api.slow`, `api.body`; LeftError.
        """
        kind = self.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":  # which no web page may send to others unasked
            found = shown(kind) or "none"
            message = f"expected the Content-Type application/json, found {found}"
            raise ApiError(Code.API_MEDIA_TYPE, message)
        length = self.header("content-length")
        if length.isdigit() and int(length[:20]) > self._limits.body_bytes:
            raise self._too_long()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return _object(await self._body())
        except TimeoutError as error:
            seconds = self._limits.body_seconds
            message = f"expected the body of a request within {seconds:g} seconds"
            raise ApiError(Code.API_SLOW, message) from error

    async def gone(self) -> None:
        """Waits until the client leaves; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, status: int, value: object) -> None:
        """Sends a whole answer."""
        body = _bytes(value)
        await self._begin(status, [_JSON, ("Content-Length", str(len(body)))])
        await self._send({"type": "http.response.body", "body": body})

    async def begin_events(self) -> None:
        """Begins an answer of events."""
        await self._begin(200, _EVENTS)

    async def event(self, value: object) -> None:
        """Sends an event; waits while the client takes none."""
        data = b"data: " + _bytes(value) + b"\n\n"
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_events(self, *, whole: bool = True) -> None:
        """Ends an answer of events, with the one that says so where it is whole."""
        data = b"data: [DONE]\n\n" if whole else b""
        await self._send({"type": "http.response.body", "body": data})

    async def empty(self) -> None:
        """Sends an answer without a body."""
        await self._begin(204, [])
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: Iterable[Header]) -> None:
        self.begun = True
        sent = [(k.lower().encode(), v.encode("latin-1")) for k, v in (*headers, *self.headers)]
        await self._send({"type": "http.response.start", "status": status, "headers": sent})

    async def _body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise LeftError
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise self._too_long()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_long(self) -> ApiError:
        most = self._limits.body_bytes
        return ApiError(
            Code.API_BODY_LENGTH, f"expected a body of {most} bytes at most: ask for less at once"
        )


def _bytes(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for end in _ENDS:
        text = text.replace(end, f"\\u{ord(end):04x}")
    # Half of a surrogate pair, which a message may quote, becomes an escape that JSON has, too.
    return text.encode(errors="backslashreplace")


def _object(body: bytes) -> dict[str, Any]:
    """Parses strict JSON: a key that stands twice, or NaN, is refused too."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refused)
    except RecursionError as error:
        raise ApiError(Code.API_BODY, "expected JSON that is not nested so deeply") from error
    except ValueError as error:
        raise ApiError(Code.API_BODY, f"expected JSON in UTF-8: {shown(str(error))}") from error
    if not isinstance(value, dict):
        raise ApiError(Code.API_BODY, "expected a JSON object")
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"{key[:40]!r} stands twice")
        result[key] = value
    return result


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
