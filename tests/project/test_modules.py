"""Every module of the project: how it introduces itself, and what its functions may take."""

import ast
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from tests.project.rooms import BESIDE, Source, read_sources

MOST_PARAMETERS = 6
# What callers type by name, each keyword a thing of its own: an object for some of them would only
# be one more name to learn.
MAY_TAKE_MORE = {
    "osd_edge.runtime.generation.conversation.Conversation.say",
    "osd_edge.runtime.session.EdgeSession.answer",
    "osd_edge.runtime.session.EdgeSession.generate",
}

# A first line that begins so has no subject, or needs the code beside it to be understood.
NO_BEGINNING = ("As", "How", "Of", "The same", "Those", "What", "Where it", "Whether", "Which")

SOURCES = read_sources()
ALL = SOURCES | read_sources(roots=BESIDE)


def test_all_that_has_words_says_what_it_is() -> None:
    assert sorted(_wordless(ALL)) == []


def test_no_function_takes_too_much() -> None:
    assert sorted(_greedy(SOURCES)) == []


def test_what_may_take_more_does() -> None:
    assert {taken.partition(":")[0] for taken in _greedy(SOURCES, set())} == MAY_TAKE_MORE


def test_nothing_depends_on_the_links_in_the_package() -> None:
    """In osd_edge/ they lead to the other three packages, in a checkout only."""
    assert sorted(_paths_from_the_package(SOURCES)) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("x = 1", ["a: none"]),
        ('"""What there is."""', ["a: begins with 'What'"]),
        ('"""Reads files"""', ["a: no full stop"]),
        ('"""Reads files.\n\nOf all sizes.\n"""', []),
        ('"""Files."""\ndef f():\n    """Whether."""', ["a.f: begins with 'Whether'"]),
        (
            '"""Files."""\nclass C:\n    def f(self):\n        """Of f."""',
            ["a.C.f: begins with 'Of'"],
        ),
        ('"""Files."""\nclass Those: ...', []),
    ],
)
def test_a_wordless_module_is_found(text: str, broken: list[str]) -> None:
    assert list(_wordless({"a": _source(text)})) == broken


def test_a_greedy_function_is_found() -> None:
    text = """
def six(a, /, b, c, *, d, e, **f): ...
def seven(a, /, b, c, *d, e, f, **g): ...
class C:
    def six(self, a, b, c, d, e, f): ...
    @staticmethod
    def seven(a, b, c, d, e, f, g): ...
@group.command("x")
def command(a, b, c, d, e, f, g): ...
"""
    assert list(_greedy({"a": _source(text)})) == ["a.seven: 7", "a.C.seven: 7"]


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("osd_edge.exporters.a", "import osd_edge\nosd_edge.__file__", True),
        ("osd_edge.exporters.a", "import osd_edge as o\no.__path__", True),
        ("osd_edge.exporters.a", "files('osd_edge')", True),
        ("osd_edge.formats.a", "Path(__file__).parent", True),
        ("osd_edge.exporters.a", "Path(__file__).with_name('b')", False),
        ("osd_edge.exporters.a", "files('osd_edge.exporters.models')", False),
        ("osd_edge.exporters.a", "from osd_edge import cli as c\nc.__file__", False),
    ],
)
def test_a_path_from_the_package_is_found(module: str, text: str, broken: bool) -> None:
    assert bool(list(_paths_from_the_package({module: _source(text, module)}))) is broken


def _source(text: str, module: str = "a") -> Source:
    parts = module.split(".")
    path = Path(*parts[parts[1:2] == ["exporters"] :]).with_suffix(".py")
    return Source(module, path, ast.parse(text))


def _wordless(sources: dict[str, Source]) -> Iterator[str]:
    for module, source in sources.items():
        if not ast.get_docstring(source.tree):
            yield f"{module}: none"
        for name, text in _described(source.tree, module):
            first = text.partition("\n")[0]
            if not first.endswith("."):
                yield f"{name}: no full stop"
            for words in NO_BEGINNING:
                if re.match(rf"{words}\b", first):
                    yield f"{name}: begins with {words!r}"


def _described(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """All modules, classes and functions that have a docstring, by name, with it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield name, text
    for child in ast.iter_child_nodes(node):
        yield from _described(child, f"{name}.{child.name}" if hasattr(child, "name") else name)


def _greedy(sources: dict[str, Source], exempt: Set[str] = MAY_TAKE_MORE) -> Iterator[str]:
    for module, source in sources.items():
        for name, function, in_class in _functions(source.tree, module):
            decorators = [ast.unparse(one) for one in function.decorator_list]
            if name in exempt or any(re.search(r"\.command\b", one) for one in decorators):
                continue
            arguments = function.args
            taken = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
            taken += bool(arguments.vararg) + bool(arguments.kwarg)
            taken -= in_class and "staticmethod" not in decorators
            if taken > MOST_PARAMETERS:
                yield f"{name}: {taken}"


def _functions(
    node: ast.AST, name: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}.{child.name}", child, isinstance(node, ast.ClassDef)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _functions(child, f"{name}.{child.name}")
        else:
            yield from _functions(child, name)


def _paths_from_the_package(sources: dict[str, Source]) -> Iterator[str]:
    for module, source in sources.items():
        imported = {
            alias.asname or alias.name
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name == "osd_edge"
        }
        for node in ast.walk(source.tree):
            of_the_package = (
                isinstance(node, ast.Attribute)
                and node.attr in ("__file__", "__path__")
                and ast.unparse(node.value) in imported
            )
            found = (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).rpartition(".")[2]
                in ("files", "find_spec", "import_module", "path", "as_file")
                and [ast.unparse(one) for one in node.args[:1]] == ["'osd_edge'"]
            )
            own = (
                isinstance(node, ast.Name)
                and node.id in ("__file__", "__path__")
                and source.path.parts[0] == "osd_edge"
            )
            if of_the_package or found or own:
                yield f"{module}: {ast.unparse(node)}"
