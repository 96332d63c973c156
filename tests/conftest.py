"""Settings of every test, and the small models that many of them use.

What takes seconds to import is imported by the fixtures that use it: rooms without torch are quick.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.families import Families
    from tests.support.writers import Writer

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub

from tests.support.turns import turn

# Under nohup it is ignored, by commands that tests end too: they would go on for ever.
if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test depends on how long anything took, and other tests run at the same time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hold marks to their reasons, and put files with slow tests first, so that no worker is late.

    The order of files is kept by `--no-loadscope-reorder`.
    """
    slow: Counter[Path] = Counter()
    for item in items:
        for mark in (*item.iter_markers("slow"), *item.iter_markers("alone")):
            if not mark.kwargs.get("reason"):
                raise pytest.UsageError(f"{item.nodeid}: {mark.name} without a reason")
        slow[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Run a test beside those of other workers, unless it is to be alone."""
    cache = getattr(item.config, "cache", None)
    if "PYTEST_XDIST_WORKER" not in os.environ or cache is None:
        return (yield)
    with turn(cache.mkdir("turns"), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="module")
def short_training() -> Iterator[None]:
    """A quarter of the usual training steps: enough for tiny models."""
    from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
    from tests.support.training import in_a_quarter

    with pytest.MonkeyPatch.context() as patch:
        for name, short in in_a_quarter().items():
            patch.setitem(REFINEMENTS, name, short)
        yield


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training that is over at once, for what does not depend on how much is learned."""
    from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
    from tests.support.training import in_few_steps

    for name, few in in_few_steps().items():
        monkeypatch.setitem(REFINEMENTS, name, few)


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Families"]:
    """Small models of any family, and packages of them."""
    from tests.support.families import Families

    made = Families(tmp_path_factory.mktemp("families"))
    yield made
    made.check()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a BERT base, two classifiers and examples: base, first, second, examples.tsv.

    It is not to be changed: a test that spoils a model copies it.
    """
    from tests.support import tiny
    from tests.support.families import stamps

    folder = tmp_path_factory.mktemp("models")
    base = tiny.make_base("bert", folder / "base")
    tiny.make_tuned(base, folder / "first", seed=1)
    tiny.make_tuned(base, folder / "second", seed=2, labels=("yes", "no"))
    tiny.write_tsv(folder / "examples.tsv")
    before = stamps(folder)
    yield folder
    assert stamps(folder) == before


@pytest.fixture(scope="session")
def tiny_base(families: "Families") -> Path:
    """The package of the base of `tiny_models`."""
    return families("bert") / "package"


@pytest.fixture(scope="session")
def tiny_bundles(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Bundles of the two classifiers of `tiny_models`, `first` and `second`."""
    from osd_edge.exporters import export_task

    folder = tmp_path_factory.mktemp("bundles")
    first, second = (folder / f"{name}.osd.safetensors" for name in ("first", "second"))
    for path, name in ((first, "first"), (second, "second")):
        export_task(tiny_models / "base", tiny_models / name, path, method="truncsvd", budget="r=4")
    return first, second


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Writer"]:
    """A base that writes text over a graph of its own, whose keys are written in place."""
    from tests.support.families import stamps
    from tests.support.writers import make_writer

    folder = tmp_path_factory.mktemp("llama")
    made = make_writer(folder)
    before = stamps(folder)
    yield made
    assert stamps(folder) == before


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> "Writer":
    """A base that writes text over a traced graph, to which keys are fed back."""
    from tests.support.writers import make_writer

    return make_writer(tmp_path_factory.mktemp("gpt2"), "gpt2")


@pytest.fixture(scope="session", params=[True, False], ids=["pooler", "no-pooler"])
def vit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, a classifier of pictures, a base package and a bundle."""
    from tests.support.pictures import make_vit

    return make_vit(tmp_path_factory.mktemp("vit"), pooler=request.param)
