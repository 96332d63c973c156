"""Compares the packages that are installed with what the installed project declares.

The declaration is read from the metadata of the installation, so that there is one list. No package
is imported.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

PROJECT = "osd-edge"

_REQUIREMENT = re.compile(
    r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Package:
    """One package as the project declares it, and the version that is installed.

    `declared` is a range such as `>=1.26`, of the extras `extras`: none where every installation
    has it. `installed` is None where it is missing, `fits` where that is not known.
    """

    name: str
    extras: tuple[str, ...]
    declared: str
    installed: str | None
    fits: bool | None


def declared_packages(requirements: Iterable[str] | None = None) -> tuple[Package, ...] | None:
    """Lists what the project declares; None where the project itself is not installed.

    An extra that takes others in has their packages too. `requirements` are those of the installed
    project, unless given.
    """
    if requirements is None:
        try:
            requirements = metadata.requires(PROJECT) or ()
        except metadata.PackageNotFoundError:
            return None
    extras: dict[tuple[str, str], list[str]] = {}  # of each package with its range
    taken: dict[str, list[str]] = {}  # the extras that an extra takes in
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None or not _concerns(match[4] or ""):
            continue
        of = _EXTRA.search(match[4] or "")
        if plain(match[1]) == PROJECT and of:
            taken.setdefault(of[1], []).extend(one.strip() for one in (match[2] or "").split(","))
        else:
            # An address may hold a password, and this is pasted into reports.
            declared = match[3].partition("@")[0].strip()
            own = extras.setdefault((match[1], declared), [])
            own += [of[1]] if of else []
    packages = []
    for (name, declared), own in extras.items():
        own += [extra for extra in taken if set(own) & set(_all_of(extra, taken))]
        installed = version_of(name)
        fits = None if installed is None else _fits(installed, declared)
        packages.append(Package(name, tuple(dict.fromkeys(own)), declared, installed, fits))
    return tuple(packages)


def version_of(name: str) -> str | None:
    """Tells the installed version of a package; None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def compares_versions() -> bool:
    """Tells whether the package `packaging` is there, without which ranges are not compared."""
    return version_of("packaging") is not None


def plain(name: str) -> str:
    """Spells a package's name as indexes do: `Optimum_ONNX` is `optimum-onnx`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _all_of(extra: str, taken: dict[str, list[str]]) -> list[str]:
    """The extras that an extra takes in, and those that they take in."""
    found = list(taken.get(extra, ()))
    for one in found:  # which grows as it is gone through
        found += [other for other in taken.get(one, ()) if other not in found]
    return found


def _fits(installed: str, declared: str) -> bool | None:
    if not compares_versions():
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(declared).contains(installed, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return None


def _concerns(marker: str) -> bool:
    """Tells whether a requirement is for this Python and this system, whatever its extra."""
    if not _EXTRA.sub("", marker).strip() or not compares_versions():
        return True
    from packaging.markers import Marker

    of = _EXTRA.search(marker)
    return Marker(marker).evaluate({"extra": of[1] if of else ""})
