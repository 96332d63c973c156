"""The page docs/measurements.md, from reports."""

from collections.abc import Sequence

from osd_edge.device_tests import Table, to_markdown
from osd_edge.device_tests.render.figures import NONE, scenario_of, text_of
from osd_edge.device_tests.render.markdown import markdown_table
from osd_edge.device_tests.report.schema import Report

_HEAD = """# Measurements

Made by `make measurements`; every figure is from the reports of `osd-edge bench` below. Where a
heading says **native**, the figures are of that very machine. Where it says **emulated**, another
processor plays that machine: memory and sizes hold, and there are no times. The words for each
figure are in [bench-schema.md](bench-schema.md).
"""


def page(reports: Sequence[Report]) -> str:
    """The page: one table over all reports, then each of them."""
    parts = [_HEAD, "## In short\n", markdown_table(_short(reports)), ""]
    for report in reports:
        text = to_markdown(report, level=2)
        _, _, rest = text.partition("\n")
        parts += [f"## {heading(report)}", rest]
    return "\n".join(parts).rstrip() + "\n"


def heading(report: Report) -> str:
    """Where a report is from: `Native: …, 1 thread`."""
    machine, threads = report["machine"], report["plan"].get("threads")
    name = machine.get("emulator") if machine["kind"] == "emulated" else machine.get("processor")
    count = "all threads" if threads == 0 else f"{threads} thread{'' if threads == 1 else 's'}"
    return f"{machine['kind'].capitalize()}: {name}, {count}"


def _short(reports: Sequence[Report]) -> Table:
    """A row for each figure that people quote, a column for each report."""
    wanted = (
        ("latency, no task over plain", "base", "to_plain_ratio"),
        ("latency, a task over plain", "task", "to_plain_ratio"),
        ("swap of a decoded task, ms", "swap", "warm_ms"),
        ("swap from its file, ms", "swap", "cold_ms"),
        ("memory (PSS), no task", "start", "pss_bytes"),
        ("memory (PSS), one task", "task", "pss_bytes"),
        ("memory (PSS), all tasks", "tasks", "pss_bytes"),
        ("tasks loaded", "tasks", "fitting_count"),
        ("a task more adds", "tasks", "per_task_bytes"),
        ("fine-tuned models that fit", "models", "fitting_count"),
        ("memory (PSS) of these", "models", "pss_bytes"),
        ("a model more adds", "models", "per_task_bytes"),
        ("on disk, tasks", "tasks", "disk_bytes"),
        ("on disk, as many models", "models", "disk_bytes"),
    )
    rows = [
        (title, *(text_of(scenario_of(report, name), figure) for report in reports))
        for title, name, figure in wanted
    ]
    kept = [row for row in rows if any(cell != NONE for cell in row[1:])]
    return Table("In short", ("", *(heading(report) for report in reports)), tuple(kept))
