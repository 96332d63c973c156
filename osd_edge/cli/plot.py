"""Accuracy against bytes, as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path

from osd_edge.cli.comparison import TaskComparison
from osd_edge.files import write_file

_MARKERS = {"truncsvd": "s", "magtruncsvd": "^", "osd": "o"}


def plot_comparison(tasks: Sequence[TaskComparison], path: Path) -> None:
    """Write a PNG: one panel a task, a line a method, lines for fine-tuning and probe."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(tasks), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for panel, task in zip(panels, tasks, strict=True):
        panel.axhline(100 * task.fine_tuned, color="black", lw=1, label="full fine-tuning")
        panel.axhline(100 * task.frozen_probe, color="grey", lw=1, ls="--", label="frozen probe")
        panel.axhline(100 * task.zero_delta, color="grey", lw=1, ls=":", label="zero delta")
        for method in dict.fromkeys(s.report.method for s in task.bundles):
            points = sorted(
                (s.report.size / 1024, 100 * s.accuracy)
                for s in task.bundles
                if s.report.method == method
            )
            panel.plot(*zip(*points, strict=True), marker=_MARKERS[method], label=method)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set_xlabel("bundle on disk, KiB")
        panel.set_title(task.task)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy, %")
    panels[-1].legend(fontsize="small", loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_file(path, buffer.getvalue())
