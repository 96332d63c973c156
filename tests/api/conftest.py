"""Servers of a base that writes text with two tasks, and of an encoder with tasks of all kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from osd_edge.runtime import EdgeSession
from osd_edge.runtime.api.server import ApiServer
from tests.api.serving import client_of, running
from tests.support.writers import Writer


@pytest.fixture(scope="session")
def writing(tiny_llama: Writer) -> EdgeSession:
    """A session of a base that writes, with `task0` and `task1`."""
    session = EdgeSession(tiny_llama.package, threads=1)
    for path in tiny_llama.bundles:
        session.load(path)
    return session


@pytest.fixture(scope="module")
def server(writing: EdgeSession) -> Iterator[ApiServer]:
    """The API over `writing`; the base is called `package`, as its folder."""
    with running(writing) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: ApiServer) -> Iterator[OpenAI]:
    with client_of(server) as one:
        yield one


@pytest.fixture(scope="session")
def encoder(
    tiny_base: Path,
    tiny_models: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> EdgeSession:
    """A session of a base of BERT's shape, with a task of each kind but text."""
    from osd_edge.exporters import export_task
    from tests.support import tiny
    from tests.support.kinds import KINDS, make_embedding

    folder, base = tmp_path_factory.mktemp("kinds"), tiny_models / "base"
    session = EdgeSession(tiny_base, threads=1)
    for path in tiny_bundles:
        session.load(path)
    for name, (task, settings) in KINDS.items():
        tiny.make_tuned(base, folder / name, task=task, **settings)
    make_embedding(base, folder / "embedding")
    for name in (*KINDS, "embedding"):
        bundle = folder / f"{name}.osd.safetensors"
        export_task(base, folder / name, bundle, method="truncsvd", budget="r=1")
        session.load(bundle)
    return session
