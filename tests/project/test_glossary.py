"""The words that docs/glossary.md gives up: no module and no name in the code has them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.project.rooms import BESIDE, PROJECT, Source, read_sources

PAGE = PROJECT / "docs" / "glossary.md"

# Names of modules that said nothing, or something else than they meant.
MODULES = {
    *("activations", "adapted", "brought", "cells", "coded_part", "fit", "half", "hollow"),
    *("legible", "measured", "opened", "pair", "quantize", "reading", "skeleton"),
}
# Whole names.
NAMES = {"AnyLayer", "AnySite", "CodedHeadLayer"}


@dataclass(frozen=True)
class Word:
    """A word that is part of no name, nor is its plural, but for rooms where it means more."""

    word: str
    but_in: tuple[str, ...] = ()


WORDS = (
    Word("brought"),
    Word(
        "cell",
        (  # of a table
            "benchmarks.decoder_at_size",
            "benchmarks.decoder_graphs",
            "benchmarks.device_at_size",
            "benchmarks.emulated",
            "benchmarks.emulated_writing",
            "benchmarks.measurements_page",
            "benchmarks.results_page",
            "osd_edge.cli.output",
            "osd_edge.device_tests.render",
        ),
    ),
    Word("coded", ("fuzz", "osd_edge.errors", "osd_edge.formats.bundle", "vectors")),  # `osd.coded`
    Word(
        "place",
        (
            "benchmarks.kinds_data",  # on a map
            "osd_edge.device_tests",  # on a machine or a page
            "osd_edge.formats.package.generation",  # written in place
            "osd_edge.formats.package.manifest_reader",
        ),
    ),
    Word("hollow"),
    Word("legible"),
    Word("skeleton"),
    Word(
        "half",
        (
            "osd_edge.device_tests.report",  # half of a range
            "osd_edge.exporters.compare.peers.nibbles",  # half a byte
        ),
    ),
    Word(
        "pair",
        (
            "benchmarks.results_page",  # two files
            "osd_edge.cli",  # NAME=VALUE
            "osd_edge.data",  # two texts
            "osd_edge.errors",
            "osd_edge.exporters.methods.frozen_head",  # two settings
            "osd_edge.exporters.methods.osd_rd",
            "osd_edge.exporters.models.image_preparation",  # two bounds
            "osd_edge.exporters.scoring",
            "osd_edge.formats",  # a key and its value, two factors
            "osd_edge.runtime",
        ),
    ),
    Word(
        "measured",
        (
            "benchmarks.measurements",  # of devices
            "osd_edge.cli",
            "osd_edge.device_tests",
            "osd_edge.exporters.methods.osd_rd.refine",  # an excess
        ),
    ),
)

SIDES_OF_A_KIND = ("osd_edge.exporters.kinds.", "osd_edge.runtime.kinds.")

ALL = read_sources() | read_sources(roots=BESIDE)


def test_no_name_has_a_word_that_is_given_up() -> None:
    assert sorted(one for source in ALL.values() for one in _given_up(source)) == []


def test_the_glossary_tells_what_is_given_up() -> None:
    listed = PAGE.read_text().partition("## Words given up")[2]
    for word in (*(one.word for one in WORDS), *NAMES):
        assert re.search(rf"^\| [^|]*\b{word}\b", listed, re.MULTILINE), word


def test_every_word_stands_once() -> None:
    words = re.findall(r"^\| \*\*(.+?) \|", PAGE.read_text(), re.MULTILINE)
    assert len(words) > 60
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_no_two_types_share_a_name() -> None:
    assert sorted(_shared(ALL)) == []


def test_a_shared_name_is_found() -> None:
    texts = {
        "a": "class Plan: ...\nArray = NDArray[Any]\nMOST = T = 1",
        "b": "Plan = tuple[int]\nArray = NDArray[Any]\nclass _Plan: ...\nMOST = T = 2",
        "osd_edge.exporters.kinds.c": "class Kind: ...",
        "osd_edge.runtime.kinds.c": "class Kind: ...",
    }
    sources = {name: Source(name, PROJECT / "a.py", ast.parse(x)) for name, x in texts.items()}
    assert list(_shared(sources)) == ["Plan: a, b"]


def test_a_word_given_up_is_found() -> None:
    text = "class AnySite: pass\ndef to_half(x): pass\nself.pairs = halving = PairOfModels = 1\n"
    source = Source("osd_edge.exporters.task", PROJECT / "task.py", ast.parse(text))
    found = [one.rpartition(": ")[2] for one in _given_up(source)]
    assert found == ["AnySite", "to_half", "pairs", "PairOfModels"]
    there = Source("osd_edge.runtime.task", PROJECT / "task.py", ast.parse("pair = 1"))
    assert list(_given_up(there)) == []
    module = Source("osd_edge.exporters.hollow", PROJECT / "hollow.py", ast.parse(""))
    assert list(_given_up(module)) == ["osd_edge.exporters.hollow: its name"]


def _given_up(source: Source) -> Iterator[str]:
    if source.module.rpartition(".")[2] in MODULES:
        yield f"{source.module}: its name"
    words = {one.word for one in WORDS if not f"{source.module}.".startswith(_rooms(one))}
    for name in dict.fromkeys(_names_in(source.tree)):
        parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
        if name in NAMES or words & {part.lower().removesuffix("s") for part in parts}:
            yield f"{source.module}: {name}"


def _shared(sources: dict[str, Source]) -> Iterator[str]:
    """Names of several public types, but for aliases of one type and for the sides of a kind."""
    types: dict[str, dict[str, str]] = {}
    for module, source in sources.items():
        room = "kinds" if module.startswith(SIDES_OF_A_KIND) else module
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef):
                types.setdefault(node.name, {})[room] = module
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                types.setdefault(node.targets[0].id, {})[ast.unparse(node.value)] = module
    for name, found in types.items():
        if len(found) > 1 and re.match(r"[A-Z]\w*[a-z]", name):
            yield f"{name}: {', '.join(sorted(found.values()))}"


def _rooms(word: Word) -> tuple[str, ...]:
    return tuple(f"{room}." for room in word.but_in)


def _names_in(tree: ast.AST) -> Iterator[str]:
    """Names that the code gives: of functions, classes, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
