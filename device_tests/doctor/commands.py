"""Tells which commands can run here, and what is missing for the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from osd_edge.device_tests.doctor.packages import PROJECT, Package, plain, version_of

_COMPARISON = ("matplotlib", "scikit-learn", "zstandard")  # of [export], for comparisons alone


@dataclass(frozen=True)
class Needs:
    """The needs of a command: packages of an extra but for some, a session, the phone page."""

    command: str
    extra: str = ""
    without: tuple[str, ...] = ()
    session: bool = False
    page: bool = False


COMMANDS = (
    Needs("api", "api", session=True),
    Needs("bench", session=True),
    Needs("chat", "text", session=True),
    Needs("compare", "export", without=("pillow",)),
    Needs("demo", "demo", without=("gguf", "pillow"), session=True),
    Needs("evaluate", "text", session=True),
    Needs("export adapter", "export", without=(*_COMPARISON, "pillow")),
    Needs("export base", "export", without=(*_COMPARISON, "pillow"), session=True),
    Needs("export task", "export", without=(*_COMPARISON, "pillow")),
    Needs("inspect", without=("onnxruntime",)),
    Needs("run", "text", session=True),
    Needs("serve", without=("onnxruntime",), page=True),
    Needs("verify", without=("onnxruntime",)),
)
# Packages that serve for one thing, which they are listed with.
OPTIONAL = {
    "gguf": "demo --generate",
    "onnxscript": "export base --tracer dynamo",
    "optimum-onnx": "export base --tracer optimum",
    "peft": "adapters, to make them",
    "pillow": "calibration with pictures",
    "segno": "the QR code of serve",
    "tokenizers": "texts for run, chat, evaluate and api",
    "zstandard": "zstd in compare",
}
# Packages that do not go with the newest of the others.
_APART = {"optimum-onnx": "apart, since it brings transformers 4.57: "}
_NOT_FOR_USERS = ("demo", "dev")  # extras that take others in


@dataclass(frozen=True)
class CommandState:
    """A command and whether it can run here; None where that is not known.

    `missing` are packages, `outside` those of a version that the project does not declare, and
    `hindered` says what else is in the way. `install` is the command that brings what is missing.
    """

    name: str
    runs: bool | None
    missing: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    hindered: tuple[str, ...] = ()
    install: str | None = None


@dataclass(frozen=True)
class OptionalPackage:
    """A package for one thing: what that is, the installed version or None, and how to get it."""

    name: str
    serves: str
    installed: str | None
    install: str


def commands(
    packages: Sequence[Package] | None, broken: Sequence[str], page_built: bool
) -> tuple[CommandState, ...]:
    """Judges every command by what is installed and by the trials that failed."""
    return tuple(_judged(needs, packages, broken, page_built) for needs in COMMANDS)


def optional_packages(packages: Sequence[Package] | None) -> tuple[OptionalPackage, ...]:
    """Lists the packages that serve for one thing each."""
    return tuple(
        OptionalPackage(name, serves, version_of(name), _how_to_get(name, packages or ()))
        for name, serves in OPTIONAL.items()
    )


def _judged(
    needs: Needs, packages: Sequence[Package] | None, broken: Sequence[str], page_built: bool
) -> CommandState:
    hindered = [f"{name} does not work" for name in broken if _is_needed(name, needs)]
    if needs.page and not page_built:
        hindered.append("the phone page is not built: 'make web-page', or --page DIR")
    if packages is None:
        runs = False if hindered else None
        return CommandState(needs.command, runs, hindered=tuple(hindered))
    wanted = [
        package
        for package in packages
        if (needs.extra in package.extras or not package.extras)
        and plain(package.name) not in needs.without
    ]
    missing = tuple(package.name for package in wanted if package.installed is None)
    outside = tuple(
        f"{package.name} {package.installed}" for package in wanted if package.fits is False
    )
    extra = f"[{needs.extra}]" if needs.extra else ""
    install = f"pip install '{PROJECT}{extra}'" if missing or outside else None
    return CommandState(
        needs.command, not (missing or hindered), missing, outside, tuple(hindered), install
    )


def _is_needed(trial: str, needs: Needs) -> bool:
    """Tells whether a command needs what was tried; int8 and int4 are of some bases alone."""
    if trial == "session":
        return needs.session
    return trial in ("numpy", "onnxruntime") and trial not in needs.without


def _how_to_get(name: str, packages: Sequence[Package]) -> str:
    extras = [x for package in packages if plain(package.name) == name for x in package.extras]
    of = next((extra for extra in extras if extra not in _NOT_FOR_USERS), None)
    if of:
        return f"pip install '{PROJECT}[{of}]'"
    return f"{_APART.get(name, '')}pip install {name}"
