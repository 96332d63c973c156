"""Measures what tasks cost on a device: conformance, then latency, swaps and memory.

`Plan` says what to measure; `measure` measures this machine and `open_device` others; both give a
`Report`. `read_report`, `parse_report` and `check_report` take reports from anywhere and refuse
those that break a rule; `compare` tells what changed between two. `render` words a report as
tables, Markdown, CSV or HTML.

The names in `__all__`, here and in `render`, are for users; everything else is private to the
package and may change. It needs numpy and onnxruntime, but only in the processes that it starts:
this one imports neither, so that it shares no page of memory with what it measures.
"""

from osd_edge.device_tests.devices import Device, open_device
from osd_edge.device_tests.measure import measure
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import check_report, parse_report, read_report
from osd_edge.device_tests.report.compare import Change, Comparison, compare
from osd_edge.device_tests.report.schema import Report

__all__ = [
    "Change",
    "Comparison",
    "Device",
    "Plan",
    "Report",
    "check_report",
    "compare",
    "measure",
    "open_device",
    "parse_report",
    "read_report",
]
