"""The API as an ASGI application: who may ask, which address it is, and what is refused how."""

import asyncio
import hmac
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from osd_edge.errors import ApiError, Code, OsdEdgeError, shown
from osd_edge.runtime.api.exchange import Exchange, LeftError, Receive, Send
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.models import Models
from osd_edge.runtime.api.statuses import error_object, status_of
from osd_edge.serve.own_names import OwnNames

Handler = Callable[[Exchange, dict[str, Any]], Awaitable[None]]
_MODELS = "/v1/models"
_TOKENS = re.compile(r"[A-Za-z0-9-]+(?:\s*,\s*[A-Za-z0-9-]+)*")  # names of headers


@dataclass(frozen=True)
class Access:
    """Who may ask: by the server's own names, with its key, and from which pages of browsers."""

    names: OwnNames
    key: str | None = None
    origins: tuple[str, ...] = ()


class Api:
    """The ASGI application: `answers` has what answers a body, by its address."""

    def __init__(
        self, access: Access, models: Models, answers: Mapping[str, Handler], limits: ApiLimits
    ) -> None:
        """Takes who may ask, what there is, and the bounds of a request."""
        self._access, self._models, self._answers = access, models, answers
        self._limits = limits

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one request."""
        exchange = Exchange(scope, receive, send, self._limits)
        try:
            await self._answered(exchange)
        except LeftError:
            return
        except OsdEdgeError as error:
            await self._refuse(exchange, error)
        except Exception as error:
            print(f"osd-edge: a request failed: {shown(repr(error), 300)}", file=sys.stderr)
            failed = ApiError(Code.API_FAILED, "the server failed: its output says why")
            await self._refuse(exchange, failed)

    async def _answered(self, exchange: Exchange) -> None:
        if self._is_preflight(exchange):
            await exchange.empty()
            return
        self._check_access(exchange)
        path, model = exchange.path, exchange.path.removeprefix(f"{_MODELS}/")
        if path in self._answers:
            _expect_method(exchange, "POST")
            body = await exchange.json()
            await self._while_there(exchange, self._answers[path](exchange, body))
        elif path == _MODELS:
            _expect_method(exchange, "GET")
            await exchange.answer(200, self._models.listed())
        elif model != path:
            _expect_method(exchange, "GET")
            await exchange.answer(200, self._models.entry(model))
        else:
            known = ", ".join((_MODELS, *self._answers))
            raise ApiError(Code.API_ROUTE, f"expected one of {known}, found {shown(path)}")

    async def _while_there(self, exchange: Exchange, answer: Awaitable[None]) -> None:
        """Answers within the time that there is, and for as long as the client is there.

        Raises ApiError `api.timeout`, LeftError.
        """
        work = asyncio.ensure_future(answer)
        leaves = asyncio.ensure_future(exchange.gone())
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                await asyncio.wait((work, leaves), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise LeftError
            work.result()
        except TimeoutError as error:
            seconds = self._limits.answer_seconds
            message = f"expected an answer within {seconds:g} seconds: ask for fewer tokens"
            raise ApiError(Code.API_TIMEOUT, message) from error
        finally:
            for one in (work, leaves):
                one.cancel()
            await asyncio.gather(work, leaves, return_exceptions=True)

    def _check_access(self, exchange: Exchange) -> None:
        """Raises ApiError `api.host`, `api.key`."""
        if not self._access.names.has(exchange.host, exchange.arrived_at):
            raise ApiError(
                Code.API_HOST,
                f"{shown(exchange.host)!r} is no name of this server: ask it by its address, or "
                "start it with --name",
            )
        origin = exchange.header("origin")
        if origin in self._access.origins:
            exchange.headers += [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        key = self._access.key
        if key is not None:
            scheme, _, given = exchange.header("authorization").partition(" ")
            wanted = key.encode(errors="surrogateescape")  # the bytes of a variable, as they are
            same = hmac.compare_digest(given.strip(" \t").encode("latin-1"), wanted)
            if scheme.lower() != "bearer" or not same:
                exchange.headers.append(("WWW-Authenticate", "Bearer"))
                raise ApiError(
                    Code.API_KEY, "expected 'Authorization: Bearer' and the server's key"
                )

    def _is_preflight(self, exchange: Exchange) -> bool:
        """Says whether a browser asks if a page may ask, and lets one that may."""
        origin = exchange.header("origin")
        if exchange.method != "OPTIONS" or origin not in self._access.origins:
            return False
        asked = exchange.header("access-control-request-headers").strip()
        exchange.headers += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", asked if _TOKENS.fullmatch(asked) else ""),
            ("Access-Control-Max-Age", "600"),
            ("Vary", "Origin"),
        ]
        return True

    async def _refuse(self, exchange: Exchange, error: OsdEdgeError) -> None:
        if exchange.begun:
            await exchange.event(error_object(error))
            await exchange.end_events(whole=False)
            return
        if error.code == Code.API_BUSY:
            exchange.headers.append(("Retry-After", "1"))
        await exchange.answer(status_of(error), error_object(error))


def _expect_method(exchange: Exchange, method: str) -> None:
    """Raises ApiError `api.method`."""
    if exchange.method != method:
        exchange.headers.append(("Allow", method))
        raise ApiError(
            Code.API_METHOD, f"expected {method} {shown(exchange.path)}, found {exchange.method}"
        )
