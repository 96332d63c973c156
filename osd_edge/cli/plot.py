"""Draws the picture of a comparison: accuracy against bytes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osd_edge.data.files import write_file

if TYPE_CHECKING:
    from osd_edge.exporters.compare.comparison import Outcome

_MARKERS = "osD^v<>Pp*hX8d"


def plot_outcomes(outcomes: "Sequence[Outcome]", path: Path) -> None:
    """Writes a PNG: one panel a task, a line a method, lines for fine-tuning and floor."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(outcomes) + 2.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(outcomes), squeeze=False)[0]
    methods = list(dict.fromkeys(p.method for o in outcomes for p in o.points))
    styles = {
        name: {"marker": _MARKERS[i % len(_MARKERS)], "color": colormaps["tab20"](i % 20)}
        for i, name in enumerate(methods)
    }
    for panel, outcome in zip(panels, outcomes, strict=True):
        best = "fine-tuned" if outcome.writes else "full fine-tuning"
        panel.axhline(100 * outcome.fine_tuned, color="black", lw=1, label=best)
        if outcome.floor is not None:
            floor = "base alone" if outcome.writes else "frozen probe"
            panel.axhline(100 * outcome.floor, color="grey", lw=1, ls="--", label=floor)
        for method in methods:
            points = sorted(
                (p.size / 1024, 100 * p.accuracy)
                for p in outcome.points
                if p.method == method and p.size is not None and p.accuracy is not None
            )
            if points:
                panel.plot(*zip(*points, strict=True), label=method, ms=4, lw=1, **styles[method])
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set_xlabel("files on disk, KiB")
        panel.set_title(outcome.task)
        panel.grid(alpha=0.3)
    written = all(outcome.writes for outcome in outcomes)
    panels[0].set_ylabel("rows written exactly, %" if written else "test accuracy, %")
    handles = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), fontsize="small", loc="outside right upper"
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_file(path, buffer.getvalue())
