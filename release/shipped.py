"""Other people's work in a release: its licences, and the bill of materials (CycloneDX)."""

import json
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

# The npm package has no text of its licence; the Python one of the same source has.
_ORT_TEXTS = ("LICENSE", "ThirdPartyNotices.txt")


@dataclass(frozen=True)
class Package:
    """An npm package whose code is in the phone page, and so in the wheel."""

    name: str
    version: str
    license: str


def bundled_packages(web: Path) -> tuple[Package, ...]:
    """The packages in the page that was built in `web`, as its build lists them."""
    listed = json.loads((web / "build" / "bundled.json").read_text("utf-8"))
    return tuple(Package(**entry) for entry in listed)


def licences(web: Path, packages: tuple[Package, ...]) -> str:
    """The texts of the packages' licences, one after the other."""
    parts = []
    for package in packages:
        texts = [web / "node_modules" / package.name / "LICENSE"]
        if package.name == "onnxruntime-web":
            spec = find_spec("onnxruntime")
            assert spec is not None and spec.origin is not None
            texts = [Path(spec.origin).parent / name for name in _ORT_TEXTS]
        parts.append(f"{package.name} {package.version} ({package.license})\n{'=' * 79}\n")
        parts += [text.read_text("utf-8") for text in texts]
    return "\n".join(parts)


def bill_of_materials(wheel: Path, version: str, packages: tuple[Package, ...], time: int) -> str:
    """The bill of materials of a release as CycloneDX JSON: what is inside, and what it needs.

    Packages in the wheel are required and have versions; those that pip installs beside it have
    the range that is declared, and are optional where only an extra needs them.
    """
    license_of = LicenseFactory().make_from_string
    whole = Component(
        name="osd-edge",
        version=version,
        type=ComponentType.LIBRARY,
        licenses=[license_of("Apache-2.0")],
        purl=PackageURL("pypi", None, "osd-edge", version),
        bom_ref="osd-edge",
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"osd-edge {version} {time}"))
    bom.metadata.component = whole
    bom.metadata.timestamp = datetime.fromtimestamp(time, UTC)
    inside = [
        Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            licenses=[license_of(one.license)],
            scope=ComponentScope.REQUIRED,
            purl=_npm(one),
            bom_ref=f"inside:{one.name}",
        )
        for one in packages
    ]
    beside = [
        Component(
            name=need.name,
            type=ComponentType.LIBRARY,
            scope=ComponentScope.OPTIONAL if need.marker else ComponentScope.REQUIRED,
            purl=PackageURL("pypi", None, need.name),
            properties=[
                Property(name="osd-edge:range", value=str(need.specifier)),
                Property(name="osd-edge:when", value=str(need.marker or "always")),
            ],
            bom_ref=f"beside:{need}",
        )
        for need in _needed(wheel)
    ]
    bom.components.update([*inside, *beside])
    bom.register_dependency(whole, [*inside, *beside])
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text + "\n"


def _npm(package: Package) -> Any:
    scope, _, name = package.name.rpartition("/")
    return PackageURL("npm", scope or None, name, package.version)


def _needed(wheel: Path) -> list[Requirement]:
    """The requirements that the wheel declares, other than its own extras."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(path).decode("utf-8"))
    found = map(Requirement, metadata.get_all("Requires-Dist") or [])
    return sorted((one for one in found if one.name != "osd-edge"), key=str)
