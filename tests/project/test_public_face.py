"""What `osd_edge` gives to others: each public name has a docstring whose example runs."""

import doctest
import importlib
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import osd_edge
from osd_edge.device_tests.data import __file__ as data_module

SMALL_BERT = Path(data_module).parent / "small-bert"
PUBLIC = [name for name in osd_edge.__all__ if name != "__version__"]
ROOMS = ("errors", "formats", "data", "serve", "cli")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of an example: a base package `base`, and a bundle for it."""
    shutil.copytree(SMALL_BERT, tmp_path / "base", ignore=lambda *_: {"expected.json"})
    shutil.copy(SMALL_BERT / "coded.osd.safetensors", tmp_path / "colours.osd.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def modules() -> Iterator[str]:
    for room in ROOMS:
        package = importlib.import_module(f"osd_edge.{room}")
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield found.name


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs_by_itself(name: str, folder: Path) -> None:
    public = getattr(osd_edge, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert example.examples, f"{name} has no example"
    report: list[str] = []
    result = doctest.DocTestRunner().run(example, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.endswith("Error")])
def test_a_public_function_documents_its_arguments_and_refusals(name: str) -> None:
    public = getattr(osd_edge, name)
    words = public.__doc__ or ""
    if isinstance(public, type):
        assert "Attributes:" in words or "Args:" in words
        return
    code = public.__code__
    described = words.partition("Args:")[2]
    for argument in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        assert f"        {argument}: " in described, argument
    assert "Raises:" in words or name == "silent"


def test_the_example_of_the_package_runs(folder: Path) -> None:
    failed, tried = doctest.testmod(osd_edge)
    assert (failed, tried > 3) == (0, True)


def test_the_examples_of_all_modules_run(folder: Path) -> None:
    tried = 0
    for name in modules():
        result = doctest.testmod(importlib.import_module(name))
        assert result.failed == 0, name
        tried += result.attempted
    assert tried > len(PUBLIC)


def test_public_names_are_found_listed_and_nothing_else() -> None:
    assert osd_edge.__all__ == sorted(osd_edge.__all__)
    assert set(osd_edge.__all__) <= set(dir(osd_edge))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = osd_edge.no_such_name  # type: ignore[attr-defined]


def test_a_name_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, osd_edge\n"
        "loaded = lambda: sorted(m for m in sys.modules if m.startswith('osd_edge.'))\n"
        "print(loaded())\n"
        "osd_edge.Code\n"
        "print(loaded())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    alone = ["osd_edge.on_demand"]
    assert result.stdout.splitlines() == [
        str(alone),
        str(["osd_edge.errors", "osd_edge.errors.codes", *alone]),
    ]
