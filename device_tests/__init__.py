"""What tasks cost on a device: conformance, then latency, swaps and memory, as a report.

`measure` gives a Report of this machine; `devices` of others. Needs what the runtime needs, numpy
and onnxruntime, but in the processes that it starts: this one imports neither (see `memory`).
"""

from osd_edge.device_tests.measure import measure
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.check import check_report, read_report
from osd_edge.device_tests.report.schema import Report

__all__ = ["Plan", "Report", "check_report", "measure", "read_report"]
