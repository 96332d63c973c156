"""The graph of the project's imports: modules, rooms, and the arrows between them.

A room is a package with its own files; a file that lies beside the `__init__.py` of one of the
four packages is a room of its own. `python -m tests.project.rooms [FOLDER]` prints the figures.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOTS = ("osd_edge", "exporters", "runtime", "device_tests")
BESIDE = (
    "benchmarks",
    "fuzz",
    "vectors",
    "tests/support",
)  # the four packages know nothing of them


@dataclass(frozen=True)
class Source:
    """A Python file of the project: the name it is imported by, and its syntax tree."""

    module: str
    path: Path  # relative to the project
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether the file is the `__init__.py` of a package."""
        return self.path.name == "__init__.py"


@dataclass(frozen=True)
class Import:
    """An import of one of the project's modules by another, wherever in the file it stands."""

    by: str
    of: str
    line: int
    for_types: bool  # under `if TYPE_CHECKING:`, so never while the program runs


def read_sources(project: Path = PROJECT, roots: Sequence[str] = ROOTS) -> dict[str, Source]:
    """Reads the Python files of the four packages, or of other folders, by their modules."""
    found = {}
    for root in roots:
        for path in sorted(project.joinpath(root).rglob("*.py")):
            relative = path.relative_to(project)
            if root == "osd_edge" and relative.parts[1] in ROOTS:
                continue  # the links to the three other folders
            if "node_modules" in relative.parts:
                continue
            module = module_name(relative)
            found[module] = Source(module, relative, ast.parse(path.read_text(), str(relative)))
    return found


def module_name(path: Path) -> str:
    """Names the module of a file: `exporters/task.py` is osd_edge.exporters.task."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(("osd_edge", *parts) if parts[0] in ROOTS[1:] else parts)


def read_imports(sources: dict[str, Source]) -> list[Import]:
    """Finds every import of one of the sources by another."""
    return [
        found
        for source in sources.values()
        for found in dict.fromkeys(_imports_of(source, sources))
        if found.of != source.module
    ]


def read_named(sources: dict[str, Source]) -> list[Import]:
    """Finds the modules that another names in a string, to load or to start them."""
    return [
        Import(source.module, node.value, node.lineno, False)
        for source in sources.values()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in sources
        if node.value != source.module
    ]


def _imports_of(source: Source, sources: dict[str, Source]) -> Iterator[Import]:
    for_types = {
        id(inside)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inside in ast.walk(statement)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source)
            # A module that is taken from a package: of both, since the package runs first.
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name in sources:
                yield Import(source.module, name, node.lineno, id(node) in for_types)


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    package = source.module.split(".")
    package = package[: len(package) - node.level + source.is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def room_of(module: str, sources: dict[str, Source]) -> str:
    """Names the room of a module: its package, or itself where it lies in one of the four."""
    package = module if sources[module].is_package else module.rpartition(".")[0]
    four = {module_name(Path(root, "__init__.py")) for root in ROOTS}
    return module if package in four else package


def arrows(
    imports: list[Import], name: Callable[[str], str] = lambda module: module
) -> dict[str, set[str]]:
    """Gives the graph of the imports that run, with modules named (as rooms, say) by `name`."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        if not one.for_types and name(one.by) != name(one.of):
            graph.setdefault(name(one.by), set()).add(name(one.of))
            graph.setdefault(name(one.of), set())
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Finds the sets of nodes that reach one another (strongly connected, more than one node)."""
    reached = {node: _reached(graph, node) for node in graph}
    found = []
    seen: set[str] = set()
    for node in sorted(graph):
        if node not in seen and node in reached[node]:
            cycle = sorted(other for other in reached[node] if node in reached[other])
            seen.update(cycle)
            found.append(cycle)
    return found


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(graph[node])
    return seen


def floors(graph: dict[str, set[str]]) -> int:
    """Counts the nodes of the longest chain; a cycle stands on one floor."""
    whole = {node: tuple(cycle) for cycle in cycles(graph) for node in cycle}
    height: dict[tuple[str, ...], int] = {}

    def climb(node: str) -> int:
        group = whole.get(node, (node,))
        if group not in height:
            below = {other for member in group for other in graph[member]} - set(group)
            height[group] = 1 + max((climb(other) for other in below), default=0)
        return height[group]

    return max((climb(node) for node in graph), default=0)


def figures(project: Path = PROJECT) -> str:
    """Puts into words how many rooms, floors, arrows and cycles a source tree has."""
    sources = read_sources(project)
    imports = read_imports(sources)
    lines = [f"{'':14} {'modules':>8} {'rooms':>6} {'floors':>7} {'arrows':>7}  cycles of modules"]
    for root in (None, *ROOTS):
        inside = {
            module: source
            for module, source in sources.items()
            if root is None or source.path.parts[0] == root
        }
        within = [one for one in imports if one.by in inside and one.of in inside]
        graph = arrows(within, lambda module: room_of(module, sources))
        rooms = {room_of(module, sources) for module in inside}
        circular = [len(cycle) for cycle in cycles(arrows(within))]
        lines.append(
            f"{root or 'all':14} {len(inside):8} {len(rooms):6} {floors(graph):7} "
            f"{sum(map(len, graph.values())):7}  "
            + (f"{len(circular)} (of {', '.join(map(str, circular))})" if circular else "none")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(figures(Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT))
