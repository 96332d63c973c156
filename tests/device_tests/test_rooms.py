"""The rooms of device_tests import one way: each knows only those that stand above it here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "device_tests"
PREFIX = "osd_edge.device_tests"
MODULE = r"osd_edge\.device_tests\.[a-z_.]+"
FLOORS = (
    {"plan", "data"},
    {"report"},
    {"job", "render"},
    {"gauges", "conformance", "install"},
    {"scenarios", "programs", "emulated"},
    {"measure"},
    {"devices"},
    {"__init__"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if "__pycache__" not in path.parts]


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def named(path: Path) -> Iterator[str]:
    """Every module of the package that a file imports, or names in a string to start or load it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(MODULE, str(node.value)):
            yield str(node.value)


def rooms_known_to(path: Path) -> set[str]:
    found = set()
    for module in named(path):
        if module.startswith(f"{PREFIX}."):
            below = module.removeprefix(f"{PREFIX}.").split(".")[0]
            found.add(below if below in FLOOR else "__init__")
    return found - {room_of(path)}


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_knows_only_rooms_above_its_own(path: Path) -> None:
    here = FLOOR[room_of(path)]
    assert {room for room in rooms_known_to(path) if FLOOR[room] >= here} == set()


def test_a_module_that_is_only_named_in_a_string_counts() -> None:
    assert "emulated" in rooms_known_to(ROOT / "devices" / "emulated_pi.py")
    assert f"{PREFIX}.devices.ssh" in named(ROOT / "devices" / "__init__.py")
