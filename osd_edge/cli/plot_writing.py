"""Draws the picture of `osd-edge demo --generate`: right answers by who gave them, task by task."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osd_edge.data.files import write_file
from osd_edge.data.sizes import format_size

if TYPE_CHECKING:
    from osd_edge.cli.demo_writing import WrittenTask

_COLOURS = ("lightgrey", "tab:orange", "tab:blue")


def plot_writing(done: "Sequence[WrittenTask]", path: Path) -> None:
    """Writes a PNG: three bars a task, with the bytes that each takes beside the base."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * len(done) + 1, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for number, one in enumerate(done):
        sizes = ("0 B", format_size(one.lora_bytes), format_size(one.bundle_bytes))
        for bar, (who, share) in enumerate(one.answers.right.items()):
            at = number + 0.28 * (bar - 1)
            label = who if number == 0 else None
            panel.bar(at, 100 * share, 0.26, color=_COLOURS[bar], label=label)
            panel.text(at, 100 * share + 1, sizes[bar], ha="center", fontsize="x-small")
    panel.set_xticks(range(len(done)), [one.task.name for one in done])
    panel.set_ylim(0, 112)
    panel.set_ylabel("right to the letter, % of test sentences")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_file(path, buffer.getvalue())
