"""`osd-edge api`: a base and its tasks for programs that speak OpenAI's form of HTTP."""

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osd_edge.cli.bundles import bundles_option, load_bundles
from osd_edge.cli.options import (
    FiniteRange,
    base_option,
    example,
    host_option,
    json_option,
    memory_option,
    port_option,
    threads_option,
)

if TYPE_CHECKING:
    from osd_edge.formats.named_bundle import NamedBundle
    from osd_edge.runtime import EdgeSession
    from osd_edge.runtime.api.server import ApiServer
    from osd_edge.runtime.graph import Memory

_ORIGIN = re.compile(r"https?://[^/\s,*]+", re.IGNORECASE)


def _origins(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _ORIGIN.fullmatch(value):
            raise click.BadParameter(f"expected one such as https://notes.example, found {value!r}")
    return values


def _key(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("expected a key, found none")
    return value and value.strip()  # as a header has it: a file's key ends with a line break


@click.command(
    epilog=example(
        "osd-edge api --base smollm2 --bundle snips.osd.safetensors",
        "OSD_EDGE_API_KEY=… osd-edge api --base minilm --bundle mr.osd.safetensors --host 0.0.0.0",
    )
)
@base_option
@bundles_option("A model's name is its task's.")
@click.option(
    "--base-name",
    metavar="NAME",
    help="The model that is the base alone, where it writes text. Default: its folder's name.",
)
@host_option
@port_option(8000)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name by which clients reach it beside its address; NAME:PORT behind a proxy. Repeatable.",
)
@click.option(
    "--api-key",
    "key",
    envvar="OSD_EDGE_API_KEY",
    show_envvar=True,
    callback=_key,
    metavar="KEY",
    help="Key that clients must show. By the variable: others see what stands in a command.",
)
@click.option(
    "--cors",
    "origins",
    multiple=True,
    callback=_origins,
    metavar="ORIGIN",
    help="Web pages that may ask, such as https://notes.example. Default: none. Repeatable.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    metavar="ROWS",
    help="The most answers that are written at once.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    metavar="ROWS",
    help="The most that wait; more are refused.",
)
@click.option(
    "--cache",
    "cache",
    default="512MiB",
    show_default=True,
    metavar="SIZE",
    help="The most memory for keys of all that is being written.",
)
@click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="The most time from a request to the end of its answer.",
)
@threads_option
@memory_option
@json_option
def api(
    base: Path,
    bundles: "tuple[NamedBundle, ...]",
    base_name: str | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    key: str | None,
    origins: tuple[str, ...],
    max_batch: int,
    max_queue: int,
    cache: str,
    timeout: float,
    threads: int,
    memory: "Memory",
    as_json: bool,
) -> None:
    """Serve BASE and its tasks over HTTP, as OpenAI's clients ask for models."""
    from osd_edge.data.sizes import parse_size
    from osd_edge.runtime import EdgeSession
    from osd_edge.runtime.api.limits import ApiLimits
    from osd_edge.runtime.api.server import ApiServer, ApiSettings
    from osd_edge.runtime.generation.scheduler import BatchLimits

    settings = ApiSettings(
        host=host,
        port=port,
        names=names,
        key=key,
        origins=origins,
        base_name=base_name,
        limits=ApiLimits(answer_seconds=timeout, waiting=max_queue),
        batch=BatchLimits(max_batch, max_queue, parse_size(cache)),
    )
    with EdgeSession(base, threads=threads, memory=memory) as session:
        load_bundles(session, bundles)
        with ApiServer(session, settings) as server:
            if as_json:
                line = {"address": server.address, "models": server.models.names}
                click.echo(json.dumps(line, ensure_ascii=True))
            else:
                models = ", ".join(server.models.names) or "none"
                click.echo(f"{server.address}  models: {models}; Ctrl+C stops")
                click.echo(how_to_ask(session, server, with_key=key is not None))
            for warning in _warnings(host, key):
                click.echo(warning, err=True)
            try:
                server.serve()
            except KeyboardInterrupt:
                if not as_json:
                    click.echo("stopped")


def how_to_ask(session: "EdgeSession", server: "ApiServer", *, with_key: bool) -> str:
    """The command by which a shell asks the last model, which is a task where there are any."""
    from osd_edge.runtime.kinds import KINDS, Embedding, Generate

    names, facts = server.models.names, session.manifest.generation
    kind = KINDS[server.models.entry(names[-1])["kind"]] if names else None
    asks = "ask"
    asked: dict[str, Any] = {"input": "Hello"}
    if isinstance(kind, Generate):
        asks, asked = "completions", {"prompt": "Hello"}
        if facts is not None and facts.chat is not None:
            asks, asked = "chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}
    elif isinstance(kind, Embedding):
        asks = "embeddings"
    elif kind is not None and kind.takes_question:
        asked["question"] = "Who?"
    body = {"model": names[-1] if names else "NAME"} | asked
    key = '-H "Authorization: Bearer $OSD_EDGE_API_KEY" ' if with_key else ""
    return (
        f"curl {server.address}/{asks} {key}-H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}"
    )


def _warnings(host: str, key: str | None) -> list[str]:
    from osd_edge.serve.addresses import is_loopback

    if is_loopback(host):
        return []
    if key is None:
        return ["Whoever reaches this address may ask: give --api-key, or serve on loopback."]
    return [
        "Over plain http others can read the key and the texts on their way: put a proxy with TLS "
        "before it (docs/api.md)."
    ]
