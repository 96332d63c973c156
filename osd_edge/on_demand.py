"""Public names of a package that are imported from their modules when they are first asked for."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def import_on_demand(
    package: str, where: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Makes the `__getattr__` and the `__dir__` of a package whose names come on demand.

    Args:
        package: The package's `__name__`.
        where: For each such name, the module that has it, as named within the package.
    """
    have = vars(sys.modules[package])

    def get(name: str) -> object:
        """Imports a public name when it is first asked for."""
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        have[name] = getattr(import_module(f"{package}.{where[name]}"), name)
        return have[name]

    def names() -> list[str]:
        """Lists the package's names, with those that are not imported yet."""
        return sorted({*have, *where})

    return get, names
