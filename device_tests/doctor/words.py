"""Words a diagnosis for people, as plain text that fits into a bug report."""

from collections.abc import Iterator, Sequence

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.doctor.commands import CommandState
from osd_edge.device_tests.doctor.diagnosis import Diagnosis
from osd_edge.device_tests.doctor.names import without_names
from osd_edge.device_tests.doctor.packages import Package

_Row = tuple[str, ...]


def describe(diagnosis: Diagnosis) -> str:
    """Lays the diagnosis out in aligned lines; none of them names the user or the home folder."""
    parts = [
        _aligned(_machine(diagnosis)),
        _part("What works here", _abilities(diagnosis)),
        _part("Packages (installed, declared, extra)", _packages(diagnosis)),
        _part("Commands that can run here", map(_command, diagnosis.commands)),
        _part("Packages for one thing each", _optional(diagnosis)),
    ]
    return without_names("\n\n".join(parts))


def _machine(diagnosis: Diagnosis) -> Iterator[_Row]:
    machine = diagnosis.surroundings
    yield "osd-edge", diagnosis.osd_edge
    yield "Python", f"{machine.python}, {machine.python_path}"
    yield "system", machine.system
    yield "machine", f"{machine.architecture}, {machine.processor}"
    yield "processors", f"{_or_unknown(machine.cpus_usable)} usable of {_or_unknown(machine.cpus)}"
    yield (
        "memory",
        f"{_size(machine.memory_bytes)}, {_size(machine.memory_available_bytes)} available",
    )
    yield "features", " ".join(machine.features or ()) or "unknown"


def _abilities(diagnosis: Diagnosis) -> Iterator[_Row]:
    for finding in diagnosis.findings:
        yield finding.name, _yes_or_no(finding.works), finding.words
    page = "" if diagnosis.page_built else "not in this installation; 'make web-page' builds it"
    yield "phone page", _yes_or_no(diagnosis.page_built), page


def _packages(diagnosis: Diagnosis) -> Iterator[_Row]:
    if diagnosis.packages is None:
        yield ("osd-edge is not installed here, so that nothing tells what it declares",)
        return
    for package in diagnosis.packages:
        extras = f"[{', '.join(package.extras)}]" if package.extras else ""
        installed = package.installed or "missing"
        yield package.name, installed, package.declared or "any", extras, _fits(package)
    if not diagnosis.versions_compared:
        yield ("(versions are not compared: the package packaging is missing)",)


def _fits(package: Package) -> str:
    return "OUTSIDE" if package.fits is False else ""


def _command(command: CommandState) -> _Row:
    said = [", ".join(command.missing) + " missing"] if command.missing else []
    said += [f"{one} is outside what is declared" for one in command.outside]
    said += command.hindered
    if command.install:
        said.append(command.install)
    return command.name, _yes_or_no(command.runs), "; ".join(said)


def _optional(diagnosis: Diagnosis) -> Iterator[_Row]:
    for package in diagnosis.optional:
        how = "" if package.installed else package.install
        yield package.name, package.installed or "missing", package.serves, how


def _part(title: str, rows: Iterator[_Row]) -> str:
    return f"{title}\n{_aligned(rows, indent='  ')}"


def _aligned(rows: Iterator[_Row], indent: str = "") -> str:
    """Sets columns under each other; a line of one column has no say in their widths."""
    listed = list(rows)
    columns = max((len(row) for row in listed), default=0)
    widths = [_width(listed, i) for i in range(columns)]
    lines = []
    for row in listed:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def _width(rows: Sequence[_Row], column: int) -> int:
    return max((len(row[column]) for row in rows if 1 < len(row) > column), default=0)


def _yes_or_no(answer: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[answer]


def _size(size: int | None) -> str:
    return "unknown" if size is None else format_size(size)


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)
