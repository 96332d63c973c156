"""The documents: every file that they name exists, every link resolves, every import is public."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.project.rooms import PROJECT, ROOTS, read_sources

PAGES = [
    *sorted(PROJECT.glob("*.md")),
    *sorted(PROJECT.glob("docs/*.md")),
]
PICTURE = PROJECT / "docs" / "architecture.svg"

# What commands make in the root is none of the repository's.
FOLDERS = ("benchmarks", "docs", "fuzz", "tests", "tests_emulated", "vectors", *ROOTS)
# A path in the repository: it begins with a folder of the root, and ends as a file or a folder.
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[A-Za-z0-9_./-]*")
FILES = {source.path.name for source in read_sources().values()}
FACES = ("osd_edge", "osd_edge.exporters", "osd_edge.runtime", "osd_edge.device_tests")


def test_files_that_the_documents_name_exist() -> None:
    assert sorted(one for page in PAGES for one in _missing(page, _named_in(page))) == []


def test_files_in_the_picture_exist() -> None:
    words = list(ElementTree.parse(PICTURE).getroot().itertext())
    named = [path for word in words for path in PATH.findall(word)]
    assert len(named) > 30
    assert sorted(_missing(PICTURE, named)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_within_the_repository_resolve(page: Path) -> None:
    assert list(_broken_links(page)) == []


def test_code_in_the_documents_imports_the_public_face() -> None:
    code = [(page, code) for page in PAGES for code in _python_in(page)]
    assert code
    private = [f"{page.name}: {one}" for page, text in code for one in _private(_imports_of(text))]
    assert private == []


def test_a_private_import_is_found() -> None:
    code = "from osd_edge.runtime.text import Answer\nfrom osd_edge.runtime import nothing\n"
    assert len(list(_private(_imports_of(code)))) == 2
    assert list(_private(_imports_of("from osd_edge.runtime import EdgeSession\nimport os"))) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One: `two`\n[a](page.md) [b](page.md#one-two) [c](#one-two) [d](https://x.y/z)\n"
        "[e](absent.md) [f](page.md#three)\n```\n[g](code.md)\n```\n"
    )
    assert list(_broken_links(page)) == ["absent.md", "page.md#three"]


def _named_in(page: Path) -> list[str]:
    """Paths and Python files in backticks, as words of the text: commands are none."""
    words = re.findall(r"`([^`\s]+)`", _without_code(page.read_text()))
    return [word for word in words if PATH.fullmatch(word) or re.fullmatch(r"\w+\.py", word)]


def _missing(page: Path, named: list[str]) -> Iterator[str]:
    """Finds the paths that do not exist, and the names of files that no room has."""
    for name in dict.fromkeys(named):
        path = PROJECT / name
        found = path.is_dir() if name.endswith("/") else path.exists()
        if not found and ("/" in name or name not in FILES):
            yield f"{page.name} has {name}"


def _broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue  # of the web, or of mail
        name, _, place = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (place and place not in _places(target)):
            yield link


def _places(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", _without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _python_in(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def _imports_of(code: str) -> Iterator[tuple[str, str]]:
    """Module and name of each import from the project; the name is empty of a whole module."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from ((module, name) for module, name in found if module.startswith("osd_edge"))


def _private(imports: Iterator[tuple[str, str]]) -> Iterator[str]:
    for module, name in imports:
        if module not in FACES:
            yield f"{module} is not public"
        elif name and name not in getattr(importlib.import_module(module), "__all__", ()):
            yield f"{name} is not in __all__ of {module}"
