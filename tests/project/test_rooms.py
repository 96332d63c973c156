"""The rooms of the project: which of them may import which.

docs/architecture.md has the same in words and in a picture.
"""

from collections.abc import Iterable, Iterator

import pytest

from tests.project.rooms import (
    PROJECT,
    Import,
    arrows,
    cycles,
    read_imports,
    read_named,
    read_sources,
)

# Data goes one way, from weights to bytes to answers to measurements, so imports go one way too:
# a device then never needs the workstation, and a stage can be changed knowing who stands on it.
MAY_IMPORT = {
    "osd_edge": {"osd_edge"},
    "osd_edge.exporters": {"osd_edge", "osd_edge.exporters"},
    "osd_edge.runtime": {"osd_edge", "osd_edge.runtime"},
    "osd_edge.device_tests": {"osd_edge", "osd_edge.runtime", "osd_edge.device_tests"},
    "osd_edge.cli": {"osd_edge", "osd_edge.exporters", "osd_edge.runtime"}
    | {"osd_edge.device_tests", "osd_edge.cli"},
}

# Within each of them, floors from the ground up, since what is below must be understood (and
# tested) without what is above: a room imports from itself and from lower floors, and not from
# its neighbours on the same floor. A room is a package or a file; the longest name that fits is
# the one that counts, so `osd_edge.exporters` means the files beside its packages.
FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "osd_edge": (
        ("osd_edge.errors", "osd_edge.on_demand", "osd_edge.signals"),
        ("osd_edge.data",),
        ("osd_edge.formats.coding",),
        ("osd_edge.formats",),  # container, heads, kinds, limits, named bundles
        ("osd_edge.formats.bundle",),
        ("osd_edge.formats.package",),
        ("osd_edge.serve",),
        ("osd_edge.cli",),
    ),
    "osd_edge.exporters": (
        (
            "osd_edge.exporters.kinds",
            "osd_edge.exporters.option_fields",
            "osd_edge.exporters.quiet",
        ),
        ("osd_edge.exporters.models",),
        (
            "osd_edge.exporters.graph.tracers",
            "osd_edge.exporters.scoring",
            "osd_edge.exporters.genai",
        ),
        ("osd_edge.exporters.graph",),
        ("osd_edge.exporters.graph.decoder",),
        ("osd_edge.exporters.methods",),
        ("osd_edge.exporters", "osd_edge.exporters.adapters"),
        ("osd_edge.exporters.compare",),
        ("osd_edge.exporters.demo",),
        ("osd_edge.exporters.demo.writing",),
    ),
    "osd_edge.runtime": (
        ("osd_edge.runtime", "osd_edge.runtime.measures"),
        ("osd_edge.runtime.kinds",),
        ("osd_edge.runtime.generation",),
        ("osd_edge.runtime.session",),
        ("osd_edge.runtime.evaluate", "osd_edge.runtime.api"),
    ),
    "osd_edge.device_tests": (
        ("osd_edge.device_tests.plan", "osd_edge.device_tests.data"),
        ("osd_edge.device_tests.report",),
        ("osd_edge.device_tests.job", "osd_edge.device_tests.render"),
        (
            "osd_edge.device_tests.gauges",
            "osd_edge.device_tests.conformance",
            "osd_edge.device_tests.install",
        ),
        (
            "osd_edge.device_tests.scenarios",
            "osd_edge.device_tests.programs",
            "osd_edge.device_tests.emulated",
            "osd_edge.device_tests.doctor",
        ),
        ("osd_edge.device_tests.measure",),
        ("osd_edge.device_tests.devices",),
        ("osd_edge.device_tests.__main__",),
    ),
}

SOURCES = read_sources()
IMPORTS = read_imports(SOURCES)
PACKAGES = sorted(module for module, source in SOURCES.items() if source.is_package)


def test_no_modules_import_one_another() -> None:
    """Wherever the import stands: one that is put off into a function still ties the two."""
    assert sorted(_circles(IMPORTS)) == []


def test_no_parts_of_a_package_import_one_another() -> None:
    """Parts are its files, and its packages with all that is in them."""
    assert sorted(_circles_of_parts(PACKAGES, IMPORTS)) == []


def test_imports_go_one_way() -> None:
    assert sorted(_against_the_direction(IMPORTS)) == []


def test_processes_of_a_measurement_start_what_is_below() -> None:
    """device_tests starts modules by name, in processes of their own: no import shows these."""
    named = [one for one in read_named(SOURCES) if _side(one.by) == "osd_edge.device_tests"]
    assert sorted(_against_the_direction(named)) == []


def test_a_module_named_in_a_string_is_found() -> None:
    named = {(one.by, one.of) for one in read_named(SOURCES)}
    driver = "osd_edge.device_tests.devices"
    assert (driver, f"{driver}.ssh") in named


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    placed = {module: _place(module, list(_heights(_side(module)))) for module in SOURCES}
    faces = MAY_IMPORT.keys()  # the floors hold what is behind them
    assert {module for module, place in placed.items() if not place} <= faces
    named = {name for floors in FLOORS.values() for floor in floors for name in floor}
    assert named == set(placed.values()) - {""}
    assert {_side(module) for module in SOURCES} == set(MAY_IMPORT)


def test_every_folder_with_python_is_a_package() -> None:
    folders = {source.path.parent for source in SOURCES.values()}
    assert sorted(x for x in folders if not PROJECT.joinpath(x, "__init__.py").is_file()) == []


def test_a_circle_is_found() -> None:
    package = [Import("p", "p.a", 1, False), Import("p.a", "p", 1, False)]
    assert list(_circles(package)) == ["p ↔ p.a"]
    ring = [Import(a, b, 1, False) for a, b in (("a.x", "b.y"), ("b.z", "c.x"), ("c.x", "a.y"))]
    assert list(_circles(ring)) == []
    assert list(_circles([*ring, Import("b.y", "a.x", 1, True)])) == []  # for types alone
    inside = [Import(f"r.{one.by}", f"r.{one.of}", 1, False) for one in ring]
    assert list(_circles_of_parts(["r"], inside)) == ["r.a ↔ r.b ↔ r.c"]


@pytest.mark.parametrize(
    ("by", "of"),
    [
        ("osd_edge.exporters.task", "osd_edge.runtime.session"),
        ("osd_edge.runtime.session", "osd_edge.exporters"),
        ("osd_edge.runtime.session", "osd_edge.device_tests.plan"),
        ("osd_edge.formats.bundle.model", "osd_edge.formats.package.manifest"),
        ("osd_edge.serve.server", "osd_edge.runtime.session"),
        ("osd_edge.exporters.scoring.calibration", "osd_edge.exporters.graph.tracers.example"),
        ("osd_edge.exporters.methods.budget", "osd_edge.exporters.task"),
        ("osd_edge.device_tests.gauges.memory", "osd_edge.device_tests.scenarios.base"),
    ],
)
def test_an_import_against_the_direction_is_found(by: str, of: str) -> None:
    assert list(_against_the_direction([Import(by, of, 1, True)])) == [f"{by} → {of}"]


def test_an_import_down_is_none_against_the_direction() -> None:
    for one in (
        Import("osd_edge.cli.export", "osd_edge.exporters", 1, False),
        Import("osd_edge.exporters.task", "osd_edge.exporters.methods.budget", 1, False),
        Import("osd_edge.device_tests.measure", "osd_edge.device_tests.gauges.memory", 1, False),
        Import("osd_edge.device_tests.job.sessions", "osd_edge.runtime.session", 1, False),
    ):
        assert list(_against_the_direction([one])) == []


def _circles(imports: list[Import]) -> Iterator[str]:
    yield from (" ↔ ".join(cycle) for cycle in cycles(arrows(imports)))


def _circles_of_parts(packages: Iterable[str], imports: list[Import]) -> Iterator[str]:
    for package in packages:
        inside = [
            Import(_part(one.by, package), _part(one.of, package), one.line, one.for_types)
            for one in imports
            if one.by.startswith(f"{package}.") and one.of.startswith(f"{package}.")
        ]
        yield from _circles(inside)


def _part(module: str, package: str) -> str:
    """The part of the package that has the module: a.b of a.b.c in a."""
    return ".".join(module.split(".")[: package.count(".") + 2])


def _against_the_direction(imports: list[Import]) -> Iterator[str]:
    for one in imports:
        sides = _side(one.by), _side(one.of)
        if sides[1] not in MAY_IMPORT[sides[0]]:
            yield f"{one.by} → {one.of}"
        elif sides[0] != sides[1] or "osd_edge.cli" in sides:
            continue
        elif {one.by, one.of} & MAY_IMPORT.keys():
            continue  # the public face, an __init__, gathers what is behind it: see the circles
        else:
            heights = _heights(sides[0])
            by, of = (_place(name, list(heights)) for name in (one.by, one.of))
            if by != of and heights[of] >= heights[by]:
                yield f"{one.by} → {one.of}"


def _side(module: str) -> str:
    return _place(module, list(MAY_IMPORT))


def _heights(side: str) -> dict[str, int]:
    floors = FLOORS["osd_edge" if side == "osd_edge.cli" else side]
    return {name: height for height, floor in enumerate(floors) for name in floor}


def _place(module: str, names: list[str]) -> str:
    """The longest of the names that is the module's own or that of a package around it."""
    return max((name for name in names if f"{module}.".startswith(f"{name}.")), key=len, default="")
