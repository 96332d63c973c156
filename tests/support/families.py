"""Small models of each family and packages of them, made once for all tests of a process."""

from pathlib import Path
from typing import Any

from osd_edge.exporters import export_base
from tests.support import tiny


class Families:
    """Makes a model or a package when it is first asked for, below one folder.

    Its files are not to be changed: a test that spoils them copies them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps: dict[Path, int] = {}

    def __call__(self, family: str, **changes: Any) -> Path:
        """A folder with `base`, `tuned`, the package of the base as `package`, and `examples.tsv`.

        `changes` go to the configuration of the base, or say that it is without a pooler.
        """
        folder = self._folder / _name(family, **changes)
        if not folder.exists():
            tiny.make_base(family, folder / "base", **changes)
            tiny.make_tuned(folder / "base", folder / "tuned")
            tiny.write_tsv(folder / "examples.tsv")
            export_base(folder / "base", folder / "package")
            self._stamps |= stamps(folder)
        return folder

    def package(self, family: str, *, weights: str = "fp32", factors: str = "fp32") -> Path:
        """A package of the family's base with weights or factors of these values."""
        folder = self(family)
        if (weights, factors) == ("fp32", "fp32"):
            return folder / "package"
        package = folder / _name("package", weights=weights, factors=factors)
        if not package.exists():
            export_base(folder / "base", package, weights=weights, factors=factors)
            self._stamps |= stamps(package)
        return package

    def check(self) -> None:
        """Fail where a test changed a file or left one of its own."""
        assert stamps(self._folder) == self._stamps


def stamps(folder: Path) -> dict[Path, int]:
    """When each file below `folder` was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _name(first: str, **settings: Any) -> str:
    return "-".join([first, *(f"{name}={value}" for name, value in sorted(settings.items()))])
