"""The formats are floors: each module imports from its own floor or those below, none in a ring."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import osd_edge.formats

ROOT = Path(osd_edge.formats.__file__).parent
FLOORS = ("coding", "container heads kinds limits named_bundle", "bundle", "package")


def imported(file: Path, modules: set[str]) -> set[str]:
    """The modules of the formats that `file` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.removeprefix("osd_edge.formats.") for name in found} & modules


def graph() -> dict[str, set[str]]:
    """Each module of the formats, and the others of them that it imports."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in ROOT.rglob("*.py")
        if path.stem != "__init__"
    }
    return {name: imported(path, set(files)) for name, path in files.items()}


def floor(module: str) -> int:
    (found,) = (i for i, names in enumerate(FLOORS) if module.split(".")[0] in names.split())
    return found


def test_no_module_imports_from_a_floor_above() -> None:
    modules = graph()
    assert {floor(name) for name in modules} == set(range(len(FLOORS)))
    assert not [
        (name, other)
        for name, imports in modules.items()
        for other in imports
        if floor(other) > floor(name)
    ]


def test_modules_form_no_ring() -> None:
    modules = graph()
    assert sum(map(len, modules.values())) > 30  # arrows are found at all
    list(TopologicalSorter(modules).static_order())  # raises CycleError
