"""The server: a session's tasks at an address, on uvicorn, until it is asked to end."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, cast

import uvicorn

from osd_edge.errors import Code, InputError
from osd_edge.runtime.api.app import Access, Api, Handler
from osd_edge.runtime.api.asking import Asking
from osd_edge.runtime.api.connection import BoundedConnection
from osd_edge.runtime.api.limits import ApiLimits
from osd_edge.runtime.api.models import Models
from osd_edge.runtime.api.writing import ChatCompletions, Completions
from osd_edge.runtime.api.written_text import TextWriter
from osd_edge.runtime.generation.scheduler import BatchLimits, Scheduler
from osd_edge.runtime.session import EdgeSession
from osd_edge.serve.addresses import is_address, page_address
from osd_edge.serve.limits import Limits
from osd_edge.serve.open_connections import OpenConnections
from osd_edge.serve.own_names import OwnNames


@dataclass(frozen=True)
class ApiSettings:
    """Where a server listens (port 0: any free one), whom it answers, and how much at once.

    `names` are those by which clients reach it beside its address; `key` is what they must show;
    `origins` are those of web pages that may ask.
    """

    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    key: str | None = None
    origins: tuple[str, ...] = ()
    base_name: str | None = None
    limits: ApiLimits = field(default_factory=ApiLimits)
    batch: BatchLimits = field(default_factory=BatchLimits)


class ApiServer:
    """Serves a session's tasks; a `with` block gives the port and the threads back at its end.

    Attributes:
        settings: Where it listens, whom it answers, and how much at once.
        models: The models that it has.
        address: What clients are told as the address of the API.
        scheduler: What writes text, None over a base that writes none.
    """

    def __init__(self, session: EdgeSession, settings: ApiSettings) -> None:
        """Binds the address.

        Raises InputError `input.address` where that cannot be done, `input.task-name`, `input.size`
        where there is no room for keys.
        """
        self.settings = settings
        self.scheduler: Scheduler | None = None
        self.models = Models(session, settings.base_name)
        with contextlib.ExitStack() as opened:
            self._socket = opened.enter_context(_bound(settings.host, settings.port))
            host, port = settings.host, self._socket.getsockname()[1]
            self.address = page_address("http", host, port) + "v1"
            named = settings.names if host == "" or is_address(host) else (*settings.names, host)
            access = Access(OwnNames(named, port), settings.key, settings.origins)
            answers = self._answers(session, opened)
            app = Api(access, self.models, answers, settings.limits)
            self._server = _Server(_config(app, settings.limits), self._end_answers)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self) -> None:
        """Serves until `stop`, or a signal; answers that are being written have some seconds left.

        In the main thread SIGINT and SIGTERM end it, and are raised again afterwards.
        """
        with contextlib.suppress(asyncio.CancelledError):
            self._server.run([self._socket])

    def stop(self) -> None:
        """Asks the server to end, from any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Ends what is left, and gives the port back."""
        self._opened.close()

    def _answers(self, session: EdgeSession, opened: contextlib.ExitStack) -> dict[str, Handler]:
        """Makes what answers, by its address, and leaves it to `opened` to be ended."""
        limits, batch = self.settings.limits, self.settings.batch
        asking = self._asking = Asking(session, self.models, limits, batch.rows)
        opened.callback(asking.close)
        answers: dict[str, Handler] = {
            "/v1/ask": asking.ask,
            "/v1/embeddings": asking.embeddings,
        }
        if session.manifest.generation is not None:
            parts = session._parts  # which the scheduler runs as `generate` does
            self.scheduler = Scheduler(parts, batch)
            opened.callback(self.scheduler.close)
            given = (self.models, TextWriter(parts, self.scheduler), limits)
            answers["/v1/chat/completions"] = ChatCompletions(*given).answer
            answers["/v1/completions"] = Completions(*given).answer
        return answers

    async def _end_answers(self) -> None:
        """Ends what is not answered yet, some seconds after the server was asked to end."""
        await asyncio.sleep(self.settings.limits.ending_seconds)
        self._asking.stop()
        if self.scheduler is not None:
            await asyncio.to_thread(self.scheduler.close)


class _Server(uvicorn.Server):
    """uvicorn, which has `end` done beside its own waiting when it is asked to end."""

    def __init__(
        self, config: uvicorn.Config, end: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.create_task(self._end())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()


def _config(app: Api, limits: ApiLimits) -> uvicorn.Config:
    counted = OpenConnections(
        Limits(connections=limits.connections, address_connections=limits.address_connections)
    )
    connection = partial(BoundedConnection, limits=limits, open_connections=counted)
    return uvicorn.Config(
        cast(Any, app),
        http=cast(type[asyncio.Protocol], connection),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what it would say of clients, the application answers them
        access_log=False,
        proxy_headers=False,  # anyone could send them
        server_header=False,
        timeout_keep_alive=int(limits.head_seconds) + 1,  # a connection has a timer of its own
        timeout_graceful_shutdown=int(limits.ending_seconds) + 30,  # a long run has to end first
        h11_max_incomplete_event_size=limits.head_bytes,
    )


def _bound(host: str, port: int) -> socket.socket:
    """Binds a socket. Raises InputError `input.address`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, TypeError, UnicodeError) as error:
        raise InputError(
            Code.INPUT_ADDRESS,
            f"cannot serve at {host} port {port}: {error}; give another --host or --port",
        ) from error
