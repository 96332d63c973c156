"""The requirements that pyproject.toml declares, and the lowest versions that they admit."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

DEVICE = ("text",)
# Without dynamo and genai, whose bounds are what every change is tested with.
WORKSTATION = ("text", "api", "export", "serve", "demo")


def requirements(project: Path, extras: tuple[str, ...]) -> list[Requirement]:
    """The requirements of the project and of `extras`, but for those on its own extras."""
    table = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*table["dependencies"]]
    for extra in extras:
        lines += table["optional-dependencies"][extra]
    found = (Requirement(line) for line in dict.fromkeys(lines))
    return [one for one in found if one.name != table["name"]]


def lowest(needed: list[Requirement]) -> list[str]:
    """`name==version` for each requirement, at its lower bound; raises ValueError without one."""
    pins = []
    for one in needed:
        bounds = [each.version for each in one.specifier if each.operator in (">=", "==", "~=")]
        if len(bounds) != 1:
            raise ValueError(f"{one} has no lower bound")
        pins.append(f"{one.name}=={bounds[0]}")
    return pins
