"""Measures what tasks cost on a device: conformance, then latency, swaps and memory.

`Plan` says what to measure; `measure` measures this machine and `open_device` others; both give a
`Report`. `read_report`, `parse_report` and `check_report` take reports from anywhere and refuse
those that break a rule; `compare` tells what changed between two; `tables_of`, `to_markdown`,
`to_csv`, `to_llama_bench` and `to_html` show one.

The names in `__all__` are for users; everything else is private to the package and may change. It
needs numpy and onnxruntime, but only in the processes that it starts: this one imports neither, so
that it shares no page of memory with what it measures. For the same reason the names that show a
report are imported when they are asked for.
"""

from typing import TYPE_CHECKING

from osd_edge.device_tests.devices import Device, open_device
from osd_edge.device_tests.measure import measure
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import check_report, parse_report, read_report
from osd_edge.device_tests.report.compare import Change, Comparison, compare
from osd_edge.device_tests.report.schema import Report
from osd_edge.on_demand import import_on_demand

if TYPE_CHECKING:
    from osd_edge.device_tests.render.csv_rows import to_csv
    from osd_edge.device_tests.render.html import to_html
    from osd_edge.device_tests.render.llama_bench import to_llama_bench
    from osd_edge.device_tests.render.markdown import to_markdown
    from osd_edge.device_tests.render.tables import Table, facts_of, tables_of

__all__ = [
    "Change",
    "Comparison",
    "Device",
    "Plan",
    "Report",
    "Table",
    "check_report",
    "compare",
    "facts_of",
    "measure",
    "open_device",
    "parse_report",
    "read_report",
    "tables_of",
    "to_csv",
    "to_html",
    "to_llama_bench",
    "to_markdown",
]

if not TYPE_CHECKING:  # else type checkers would take any name for one of this module
    _WHERE = {
        "Table": "render.tables",
        "facts_of": "render.tables",
        "tables_of": "render.tables",
        "to_csv": "render.csv_rows",
        "to_html": "render.html",
        "to_llama_bench": "render.llama_bench",
        "to_markdown": "render.markdown",
    }
    __getattr__, __dir__ = import_on_demand(__name__, _WHERE)
