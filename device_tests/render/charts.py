"""Draws the plots of a report: memory as tasks grow, latency, swap times, a soak.

Each gives an SVG, or None where the report has not the figures for it.
"""

from collections.abc import Sequence
from math import log10

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.render import svg
from osd_edge.device_tests.render.figures import digits, figure_of, number_of, scenario_of
from osd_edge.device_tests.render.tables import WAYS, latency_parts
from osd_edge.device_tests.report.schema import Figure, Report, middle

WIDTH = 760
MIB = 2**20
COLOURS = {"tasks": "c1", "models": "c2", "session-per-task": "c3", "lora-adapter": "c4"}
_ROW = 34
_LEAST_MS = 1e-6  # of a logarithmic scale


def memory_chart(report: Report) -> str | None:
    """Draws the memory of a process against the number of tasks, a line for each way."""
    lines = []
    for name, title in WAYS:
        scenario = scenario_of(report, name)
        points = [
            (int(row["of"]["tasks"]), size)
            for row in (scenario["rows"] if scenario else ())
            if "tasks" in row["of"] and (size := _memory_of(row)) is not None
        ]
        if len(points) > 1:
            lines.append((name, title, points))
    most = max((count for _, _, points in lines for count, _ in points), default=0)
    if most == 0:
        return None
    left, right, top, bottom, height = 56, 244, 30, 48, 372
    marks = svg.ticks(max(size for _, _, points in lines for _, size in points) / MIB)

    def x(count: float) -> float:
        return left + (WIDTH - left - right) * count / most

    def y(size: float) -> float:
        return height - bottom - (height - top - bottom) * size / MIB / marks[-1]

    parts = []
    for mark in marks:
        parts.append(svg.line(left, y(mark * MIB), WIDTH - right, y(mark * MIB), "grid"))
        parts.append(svg.text(left - 8, y(mark * MIB) + 4, f"{mark:g}", anchor="end", css="mute"))
    for count in sorted({c for _, _, points in lines for c, _ in points}):
        if count in (0, 1) or count >= most / 4:
            parts.append(
                svg.text(x(count), height - bottom + 20, str(count), anchor="middle", css="mute")
            )
    middle_x = (left + WIDTH - right) / 2
    parts.append(svg.text(middle_x, height - 6, "tasks", anchor="middle", css="mute"))
    parts.append(svg.text(left - 8, 14, "MiB", anchor="end", css="mute"))
    ends = [y(points[-1][1]) for _, _, points in lines]
    places = svg.space_labels(ends, 34, top + 4, height - bottom - 14)
    # Ours is drawn last, so that no other line hides it.
    for (name, title, points), place in reversed(list(zip(lines, places, strict=True))):
        css = COLOURS[name]
        parts.append(svg.path([(x(count), y(size)) for count, size in points], f"line {css}"))
        for count, size in points:
            tip = f"{title}, {count} tasks: {format_size(size)}"
            parts.append(svg.dot(x(count), y(size), f"dot {css}", tip))
        last, size = points[-1]
        ended = "" if last == most else f", no more than {last} fit"
        parts.append(svg.line(x(last) + 7, y(size), WIDTH - right + 14, place, "lead"))
        parts.append(svg.text(WIDTH - right + 18, place, title, css=f"ink name {css}"))
        words = f"{format_size(size)} for {last}{ended}"
        parts.append(svg.text(WIDTH - right + 18, place + 16, words, css="mute", size=12))
    return svg.picture(WIDTH, height, parts, "Memory of a process as tasks grow")


def latency_chart(report: Report) -> str | None:
    """Draws a bar for each thing's median latency, with the middle 80 % as a range."""
    rows = []
    for title, part in latency_parts(report):
        figure = figure_of(part, "latency_ms")
        if isinstance(figure, dict):
            css = "c1" if title.startswith("task ") else "c0"
            ratio = number_of(part, "to_plain_ratio")
            rows.append((title, figure, ratio, "c4" if title == "LoraAdapter" else css))
    if not rows:
        return None
    left, right, top = 168, 150, 8
    height = top + _ROW * len(rows) + 34
    marks = svg.ticks(max(figure.get("p90", figure["p50"]) for _, figure, _, _ in rows))

    def x(ms: float) -> float:
        return left + (WIDTH - left - right) * ms / marks[-1]

    parts = []
    for mark in marks:
        parts.append(svg.line(x(mark), top, x(mark), height - 30, "grid"))
        parts.append(svg.text(x(mark), height - 12, f"{mark:g}", anchor="middle", css="mute"))
    parts.append(svg.text(x(marks[-1]) + 26, height - 12, "ms", css="mute"))
    for i, (title, figure, ratio, css) in enumerate(rows):
        at = top + _ROW * i + _ROW / 2
        tip = f"{title}: {_range_words(figure)}"
        parts.append(svg.text(left - 10, at + 4, _short(title), anchor="end", css="ink"))
        parts.append(svg.bar(left, at - 9, x(figure["p50"]) - left, 18, f"bar {css}", tip))
        if "p10" in figure and "p90" in figure:
            parts.append(svg.whisker(x(figure["p10"]), x(figure["p90"]), at, "whisker"))
        words = f"{digits(figure['p50'])} ms"
        words += "" if ratio is None else f" · {ratio:.2f} ×"
        parts.append(svg.text(x(figure.get("p90", figure["p50"])) + 10, at + 4, words, css="ink"))
    parts.append(svg.line(left, top, left, height - 30, "axis"))
    return svg.picture(WIDTH, height, parts, "Latency of a run")


def swap_chart(report: Report) -> str | None:
    """Draws what a change of task takes in each way, on a logarithmic scale."""
    swap = scenario_of(report, "swap")
    lora, rebuild = scenario_of(report, "lora-adapter"), scenario_of(report, "rebuild")
    models = scenario_of(report, "models")
    wanted = (
        ("decoded task", "OSD Edge", figure_of(swap, "warm_ms"), "c1"),
        ("loaded adapter", "LoraAdapter", figure_of(lora, "warm_ms"), "c4"),
        ("adapter from file", "LoraAdapter, fp32 file", figure_of(lora, "load_ms"), "c4"),
        ("task from file", "OSD Edge: read, check, decode", figure_of(swap, "cold_ms"), "c1"),
        ("one more model", "open it beside the others", figure_of(models, "session_ms"), "c2"),
        ("another model", "open it instead, first run", figure_of(rebuild, "request_ms"), "c2"),
    )
    rows = [
        (title, how, figure, css)
        for title, how, figure, css in wanted
        if (value := middle(figure)) is not None and value >= _LEAST_MS
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: middle(row[2]) or 0)
    lows = [max(_end(figure, "p10"), _LEAST_MS) for _, _, figure, _ in rows]
    highs = [_end(figure, "p90") for _, _, figure, _ in rows]
    marks = svg.decades(min(lows), max(highs))
    left, right, top = 220, 120, 8
    height = top + 44 * len(rows) + 34

    def x(ms: float) -> float:
        share = (log10(max(ms, marks[0])) - log10(marks[0])) / (log10(marks[-1]) - log10(marks[0]))
        return left + (WIDTH - left - right) * share

    parts = []
    for mark in marks:
        parts.append(svg.line(x(mark), top, x(mark), height - 30, "grid"))
        parts.append(svg.text(x(mark), height - 12, _ms(mark), anchor="middle", css="mute"))
    for i, (title, how, figure, css) in enumerate(rows):
        at = top + 44 * i + 22
        value = middle(figure) or 0.0
        parts.append(svg.text(left - 14, at - 2, title, anchor="end", css="ink"))
        parts.append(svg.text(left - 14, at + 14, how, anchor="end", css="mute", size=12))
        low, high = _end(figure, "p10"), _end(figure, "p90")
        parts.append(svg.line(x(low), at, x(high), at, f"range {css}"))
        tip = f"{title}: {_range_words(figure)}"
        parts.append(svg.dot(x(value), at, f"dot {css}", tip, radius=6))
        parts.append(svg.text(x(max(high, value)) + 12, at + 4, _ms(value), css="ink"))
    return svg.picture(WIDTH, height, parts, "Time that a change of task takes")


def soak_chart(report: Report) -> str | None:
    """Draws anonymous memory over the swaps of the soak."""
    soak = scenario_of(report, "soak")
    points = [
        (int(row["of"]["swaps"]), size)
        for row in (soak["rows"] if soak else ())
        if "swaps" in row["of"]
        and (size := number_of(row, "anonymous_bytes")) is not None
        and size >= 0
    ]
    most = max((swaps for swaps, _ in points), default=0)
    if len(points) < 2 or most == 0:
        return None
    left, right, top, bottom, height = 56, 24, 30, 48, 210
    marks = svg.ticks(max(size for _, size in points) * 1.15 / MIB, 4)

    def place(swaps: int, size: float) -> tuple[float, float]:
        x = left + (WIDTH - left - right) * swaps / most
        return x, height - bottom - (height - top - bottom) * size / MIB / marks[-1]

    parts = []
    for mark in marks:
        _, y = place(0, mark * MIB)
        parts.append(svg.line(left, y, WIDTH - right, y, "grid"))
        parts.append(svg.text(left - 8, y + 4, f"{mark:g}", anchor="end", css="mute"))
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(round(most * share), 0)
        words = f"{round(most * share):,}".replace(",", " ")
        parts.append(svg.text(x, y + 20, words, anchor="middle", css="mute"))
    parts.append(
        svg.text((left + WIDTH - right) / 2, height - 6, "swaps", anchor="middle", css="mute")
    )
    parts.append(svg.text(left - 8, 14, "MiB", anchor="end", css="mute"))
    parts.append(svg.path([place(*point) for point in points], "line c1"))
    for swaps, size in points:
        tip = f"{swaps} swaps: {format_size(size)}"
        parts.append(svg.dot(*place(swaps, size), "dot c1", tip, radius=2.5))
    return svg.picture(WIDTH, height, parts, "Memory while swapping for long")


def _memory_of(row: object) -> float | None:
    for name in ("pss_bytes", "rss_bytes"):
        size = number_of(row, name)  # type: ignore[arg-type]
        if size is not None and size >= 0:
            return size
    return None


def _end(figure: Figure, key: str) -> float:
    value = figure.get(key) if isinstance(figure, dict) else None
    return float(value) if isinstance(value, int | float) else (middle(figure) or 0.0)


def _range_words(figure: Figure) -> str:
    low, high = _end(figure, "p10"), _end(figure, "p90")
    return f"median {digits(middle(figure) or 0)} ms, {digits(low)} to {digits(high)} ms"


def _ms(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value >= 1 else f"{value * 1000:.3g} µs"


def _short(title: str, length: int = 22) -> str:
    return title if len(title) <= length else title[: length - 1] + "…"


def charts_of(report: Report) -> Sequence[tuple[str, str, str]]:
    """Draws each plot that this report has figures for: title, caption and SVG."""
    wanted = (
        (
            "Memory as tasks grow",
            "Memory (PSS) of one process, every task loaded and run once.",
            memory_chart(report),
        ),
        (
            "Latency of a run",
            "Bars are medians, strokes the middle 80 %; × is over the plain graph, round by round.",
            latency_chart(report),
        ),
        (
            "A change of task",
            "Logarithmic. Dots are medians, lines the middle 80 %; files are in the page cache.",
            swap_chart(report),
        ),
        (
            "Swapping for long",
            "Anonymous memory of one process; every swap decodes, every tenth reads its file.",
            soak_chart(report),
        ),
    )
    return [(title, caption, chart) for title, caption, chart in wanted if chart is not None]
