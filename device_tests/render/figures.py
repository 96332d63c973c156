"""Finds figures in a report and turns them into words."""

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.report.schema import Figure, Figures, Report, Scenario, middle

NONE = "–"


def scenario_of(report: Report, name: str) -> Scenario | None:
    """Finds the scenario of that id, where it is done."""
    found = (s for s in report["scenarios"] if s["id"] == name and s["status"] == "done")
    return next(found, None)


def figure_of(part: Figures | None, name: str) -> Figure:
    """Returns a figure; None where it, or what it is of, is not there."""
    return None if part is None else part["figures"].get(name)


def number_of(part: Figures | None, name: str) -> float | None:
    """Returns a figure as one number: the median of a spread."""
    return middle(figure_of(part, name))


def text_of(part: Figures | None, name: str) -> str:
    """Words a figure in the unit that its name ends in; where it is null, says why."""
    figure = figure_of(part, name)
    if figure is not None:
        return format_value(name, figure)
    missing = None if part is None else part["missing"].get(name)
    if missing is None:
        return NONE
    return "withheld" if missing["why"] == "withheld" else "not available here"


def format_value(name: str, figure: Figure) -> str:
    """Formats a figure: `latency_ms` 30.4123 as `30.4`, a ratio with its middle 80 %."""
    value = middle(figure)
    if value is None:
        return NONE
    if name.endswith("_bytes"):
        return format_size(value)
    if name.endswith("_ratio"):
        if isinstance(figure, dict) and "p10" in figure and "p90" in figure:
            return f"{value:.3f} ({figure['p10']:.3f}–{figure['p90']:.3f})"
        return f"{value:.3f}"
    if name.endswith("_share"):
        return f"{100 * value:.1f} %"
    if name.endswith("_hz"):
        return f"{value / 1e9:.2f} GHz"
    if name.endswith("_celsius"):
        return f"{value:.0f} °C"
    if name.endswith("_count"):
        return f"{value:.6g}" if value == int(value) else f"{value:.2f}"
    return digits(value)


def digits(value: float) -> str:
    """Writes a number with three significant digits, and never with an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    for above, places in ((100, 0), (10, 1), (1, 2), (0.1, 3), (0.01, 4)):
        if size >= above:
            return f"{value:.{places}f}"
    return f"{value:.5f}"
