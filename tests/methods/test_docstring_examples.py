"""The examples in the docstrings of the exporters' public face, run on a tiny model."""

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osd_edge import exporters
from tests.support import tiny


def public() -> Iterator[tuple[str, Any]]:
    """The package, what it gives out, and the methods and properties of its classes."""
    yield "osd_edge.exporters", exporters
    for name in exporters.__all__:
        member = getattr(exporters, name)
        yield name, member
        for attribute, own in vars(member).items() if inspect.isclass(member) else ():
            if not attribute.startswith("_") and (
                inspect.isfunction(own) or isinstance(own, property)
            ):
                yield f"{name}.{attribute}", own


PUBLIC = dict(public())


@pytest.fixture
def folder(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models and texts that the examples name."""
    (tmp_path / "base").symlink_to(tiny_models / "base")
    (tmp_path / "tuned").symlink_to(tiny_models / "first")
    (tmp_path / "sentences.txt").write_text("\n".join(tiny.sentences(24)) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder", "short_training")
@pytest.mark.parametrize("name", PUBLIC)
def test_examples_give_what_they_say(name: str) -> None:
    names = {"Path": Path} | {public: getattr(exporters, public) for public in exporters.__all__}
    text = inspect.getdoc(PUBLIC[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert example.examples, f"{name} has no example"
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_described(name: str) -> None:
    member, text = PUBLIC[name], inspect.getdoc(PUBLIC[name]) or ""
    assert text.partition("\n")[0].endswith("."), f"{name} begins with no sentence"
    if inspect.isclass(member) or inspect.isfunction(member):
        for argument in inspect.signature(member).parameters.values():
            stars = "**" if argument.kind is inspect.Parameter.VAR_KEYWORD else ""
            if argument.name != "self":
                assert f"\n    {stars}{argument.name}: " in text, argument.name
