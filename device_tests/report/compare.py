"""Compares two reports of one plan: what changed by more than the noise of both.

A time has to move by more than 5 %, by more than half the range that the plain graph had against
itself, and by more than half the range of its own middle 80 %, each of whichever report is the
noisier. Memory has to move by more than 2 % and 1 MiB, and by more than processes that do the
same were apart. Sizes on disk and counts have no noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import Figure, Figures, Report, is_time, middle

_LEAST_TIME = 0.05
_LEAST_MEMORY = 0.02
_EXACT = ("disk_bytes", "file_bytes", "fitting_count")
_LEAST_BYTES = 1 << 20
_MEMORY = (
    "rss_bytes",
    "pss_bytes",
    "uss_bytes",
    "anonymous_bytes",
    "peak_rss_bytes",
    "page_bytes",
    "per_task_bytes",
    "growth_bytes",
)
_MORE_IS_BETTER = ("_per_s", "fitting_count")


@dataclass(frozen=True)
class Change:
    """A figure that moved beyond noise.

    Args:
        where: The scenario, with the row in brackets: `task (task mr)`.
        figure: The figure's name, whose end is the unit of the three numbers.
        old: Its median before.
        new: Its median now.
        noise: How far it may move without being a change.

    Example:
        >>> from osd_edge.device_tests import Change
        >>> Change("swap", "cold_ms", old=4.0, new=3.0, noise=0.2).better
        True
    """

    where: str
    figure: str
    old: float
    new: float
    noise: float

    @property
    def better(self) -> bool:
        """Tells whether the new one is the better one."""
        return (self.new > self.old) == self.figure.endswith(_MORE_IS_BETTER)


@dataclass(frozen=True)
class Comparison:
    """The changes between two reports.

    Args:
        compared: How many figures both reports have, those that only one has left out.
        changes: Those that moved beyond noise.
        notes: Where the two are unlike: another machine, another plan, another base.

    Example:
        >>> from osd_edge.device_tests import Comparison
        >>> Comparison(compared=12, changes=(), notes=("threads was 1, is 2",)).changes
        ()
    """

    compared: int
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def compare(old: Report, new: Report) -> Comparison:
    """Compares the figures that two reports have in common, and tells which moved beyond noise.

    Args:
        old: The report of before.
        new: The report of now, of the same plan.

    Returns:
        The changes from `old` to `new` beyond noise: for a time 5 %, half the range of the plain
        graph against itself, and half the range of its own middle 80 %, whichever is most; for
        memory 2 % and 1 MiB.

    Raises:
        ReportError: One of them is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import compare, read_report
        >>> old, new = read_report("old.json"), read_report("report.json")
        >>> comparison = compare(old, new)
        >>> [(change.where, change.figure, change.better) for change in comparison.changes]
        [('swap', 'cold_ms', True)]
    """
    check_report(old, "the old report")
    check_report(new, "the new report")
    before = dict(_figures(old))
    changes, compared = [], 0
    for (where, name), figure in _figures(new):
        other = before.get((where, name))
        old_value, new_value = middle(other) if other is not None else None, middle(figure)
        if old_value is None or new_value is None:
            continue
        noise = _noise(name, other, figure, old, new)
        if noise is None:
            continue
        compared += 1
        if abs(new_value - old_value) > noise:
            changes.append(Change(where, name, old_value, new_value, noise))
    return Comparison(compared, tuple(changes), tuple(_unlike(old, new)))


def _figures(report: Report) -> Iterator[tuple[tuple[str, str], Figure]]:
    for scenario in report["scenarios"]:
        parts: list[tuple[str, Figures]] = [(scenario["id"], scenario)]
        if scenario["id"] != "soak":  # whose rows are one line over time
            for row in scenario["rows"]:
                of = ", ".join(f"{name} {value}" for name, value in row["of"].items())
                parts.append((f"{scenario['id']} ({of})", row))
        for where, part in parts:
            for name, figure in part["figures"].items():
                yield (where, name), figure


def _noise(
    name: str, old: Figure, new: Figure, old_report: Report, new_report: Report
) -> float | None:
    """Returns how far the figure may move unnoticed; None where it is not compared."""
    if name in _EXACT:
        return 0.0
    value = abs(middle(old) or 0.0)
    reports = (old_report, new_report)
    if name in _MEMORY:
        apart = max(_half_range(r["noise"]["figures"].get("start_pss_bytes")) for r in reports)
        return max(_LEAST_BYTES, value * max(_LEAST_MEMORY, apart))
    if is_time(name) and name != "aa_ratio":
        apart = max(_half_range(r["noise"]["figures"].get("aa_ratio")) for r in reports)
        return value * max(_LEAST_TIME, apart, _half_range(old), _half_range(new))
    return None


def _half_range(figure: Figure) -> float:
    """Returns half the range of the middle 80 %, as a share of the median."""
    if not isinstance(figure, dict) or not figure["p50"]:
        return 0.0
    low, high = figure.get("p10", figure["p50"]), figure.get("p90", figure["p50"])
    return (high - low) / 2 / abs(figure["p50"])


def _unlike(old: Report, new: Report) -> Iterator[str]:
    for name in ("kind", "processor", "architecture", "system", "software"):
        before, after = old["machine"].get(name), new["machine"].get(name)
        if before != after:
            yield f"{name} was {before}, is {after}"
    for name in ("tokens", "batch", "threads", "tasks", "pin"):
        before, after = old["plan"].get(name), new["plan"].get(name)
        if before != after:
            yield f"{name} was {before}, is {after}: figures that depend on it are not comparable"
    now = {s["id"]: s["status"] for s in new["scenarios"]}
    for scenario in old["scenarios"]:
        status = now.get(scenario["id"], "not in the report")
        if scenario["status"] == "done" != status:
            yield f"scenario {scenario['id']} was done, is {status.replace('_', ' ')}"
    fingerprints = [r["base"]["fingerprint"] if r["base"] else None for r in (old, new)]
    if fingerprints[0] != fingerprints[1]:
        yield "the base is another"
