import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub

from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS
from osd_edge.exporters.quiet import quiet_libraries
from tests.support import tiny

quiet_libraries()


@pytest.fixture(scope="module")
def short_training() -> Iterator[None]:
    """A quarter of the usual training steps: enough for tiny models."""
    with pytest.MonkeyPatch.context() as patch:
        for name, usual in list(REFINEMENTS.items()):
            patch.setitem(REFINEMENTS, name, replace(usual, steps=usual.steps // 4))
        yield


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT base and two classifiers: base, first, second."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny.make_base("bert", folder / "base")
    tiny.make_tuned(base, folder / "first", seed=1)
    tiny.make_tuned(base, folder / "second", seed=2, labels=("yes", "no"))
    tiny.write_tsv(folder / "examples.tsv")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_models: Path) -> Path:
    """The base package of the tiny BERT."""
    folder = tiny_models / "package"
    export_base(tiny_models / "base", folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bundles(tiny_models: Path) -> tuple[Path, Path]:
    """Bundles of the two tiny classifiers, `first` and `second`."""
    paths = tiny_models / "first.osd.safetensors", tiny_models / "second.osd.safetensors"
    for path, name in zip(paths, ("first", "second"), strict=True):
        export_task(tiny_models / "base", tiny_models / name, path, method="truncsvd", budget="r=4")
    return paths
