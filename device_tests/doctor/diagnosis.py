"""A diagnosis: versions, commands that can run, and what this machine can do."""

from dataclasses import asdict, dataclass
from typing import Any

from osd_edge import __version__
from osd_edge.device_tests.doctor.commands import (
    CommandState,
    OptionalPackage,
    commands,
    optional_packages,
)
from osd_edge.device_tests.doctor.findings import Finding, find
from osd_edge.device_tests.doctor.names import without_names
from osd_edge.device_tests.doctor.packages import Package, compares_versions, declared_packages
from osd_edge.device_tests.doctor.surroundings import Surroundings, surroundings
from osd_edge.errors import InputError
from osd_edge.serve.page import page_folder

_OF_A_DEVICE = ("numpy", "onnxruntime", "session")


@dataclass(frozen=True)
class Diagnosis:
    """All that `osd-edge doctor` finds.

    `packages` is None where the project is not installed, so that nothing tells what it declares;
    `versions_compared` is False where the package `packaging` is missing, and versions are only
    listed.
    """

    osd_edge: str
    surroundings: Surroundings
    findings: tuple[Finding, ...]
    page_built: bool
    packages: tuple[Package, ...] | None
    versions_compared: bool
    commands: tuple[CommandState, ...]
    optional: tuple[OptionalPackage, ...]

    @property
    def failure(self) -> Finding | None:
        """The first finding for which tasks cannot run here; None where they can."""
        failed = (x for x in self.findings if x.name in _OF_A_DEVICE and not x.works)
        return next(failed, None)

    def as_dict(self) -> dict[str, Any]:
        """Gives the diagnosis for programs; no text in it names the user or the home folder."""
        found: dict[str, Any] = _without_names({"works": self.failure is None} | asdict(self))
        return found


def diagnose() -> Diagnosis:
    """Looks at everything; takes a second or two, and raises nothing for what it finds."""
    findings, packages, page_built = find(), declared_packages(), _page_built()
    broken = [finding.name for finding in findings if not finding.works]
    return Diagnosis(
        osd_edge=__version__,
        surroundings=surroundings(),
        findings=findings,
        page_built=page_built,
        packages=packages,
        versions_compared=compares_versions(),
        commands=commands(packages, broken, page_built),
        optional=optional_packages(packages),
    )


def _page_built() -> bool:
    try:
        page_folder(None)
    except InputError:
        return False
    return True


def _without_names(value: Any) -> Any:
    if isinstance(value, str):
        return without_names(value)
    if isinstance(value, dict):
        return {key: _without_names(one) for key, one in value.items()}
    return [_without_names(one) for one in value] if isinstance(value, list | tuple) else value
