"""The examples in the docstrings of the runtime's public face, run over tiny models."""

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    ViTImageProcessor,
)

from osd_edge import runtime
from osd_edge.exporters import export_base, export_task
from tests.support import tiny
from tests.support.kinds import KINDS, make_embedding
from tests.support.packages import copied
from tests.support.writers import Writer

# The task models that the examples name, over MiniLM: a class, and settings to make one with.
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mr": (AutoModelForSequenceClassification, {"labels": ("negative", "positive")}),
    "trec": (AutoModelForSequenceClassification, {"labels": ("person", "place", "number")}),
    "ner": KINDS["token-labels"],
    "squad": KINDS["spans"],
}


def public() -> Iterator[tuple[str, Any]]:
    """The package, what it gives out, and the methods and properties of its classes."""
    yield "osd_edge.runtime", runtime
    for name in runtime.__all__:
        member = getattr(runtime, name)
        yield name, member
        if inspect.isclass(member):
            for attribute, _ in inspect.getmembers(member):
                static = inspect.getattr_static(member, attribute)
                if not attribute.startswith("_") and (
                    inspect.isfunction(static) or isinstance(static, property)
                ):
                    yield f"{name}.{attribute}", static


PUBLIC = dict(public())
EXAMPLES = {
    name: doctest.DocTestParser().get_doctest(
        inspect.getdoc(member) or "",
        {"np": np} | {public: getattr(runtime, public) for public in runtime.__all__},
        name,
        None,
        None,
    )
    for name, member in PUBLIC.items()
}


@pytest.fixture(scope="module")
def folder(tiny_llama: Writer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder, work = tmp_path_factory.mktemp("examples"), tmp_path_factory.mktemp("work")
    copied(tiny_llama.package, folder / "smollm2")
    base = tiny.make_base("bert", work / "base")
    export_base(base, folder / "minilm")
    for seed, (name, (task, settings)) in enumerate(MODELS.items(), 1):
        tiny.make_tuned(base, work / name, task=task, seed=seed, **settings)
    make_embedding(base, work / "sentences")
    pictures = tiny.make_base("vit", work / "pictures")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(pictures)
    export_base(pictures, folder / "vit")
    tiny.make_tuned(pictures, work / "birds", task=AutoModelForImageClassification)
    for name in (*MODELS, "sentences", "birds"):
        export_task(
            pictures if name == "birds" else base,
            work / name,
            folder / f"{name}.osd.safetensors",
            method="truncsvd",
            budget="r=4",
        )
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_give_what_they_say(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXAMPLES[name].examples, f"{name} has no example"
    monkeypatch.chdir(folder)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(EXAMPLES[name], out=told.append, clear_globs=False)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_and_attribute_is_described(name: str) -> None:
    member, text = PUBLIC[name], inspect.getdoc(PUBLIC[name]) or ""
    first = text.partition("\n")[0]
    assert first.endswith("."), f"{name} begins with no sentence: {first!r}"
    if inspect.isclass(member) or inspect.isfunction(member):
        for argument in inspect.signature(member).parameters.values():
            stars = "**" if argument.kind is inspect.Parameter.VAR_KEYWORD else ""
            if argument.name != "self":
                assert f"\n    {stars}{argument.name}: " in text, argument.name
