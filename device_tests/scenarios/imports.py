"""Measures what the runtime weighs before any base is open."""

from osd_edge.device_tests.gauges.memory import put_memory
from osd_edge.device_tests.gauges.samples import time_ms
from osd_edge.device_tests.job.sheet import Job, Sheet


def run(job: Job, sheet: Sheet) -> None:
    """Times the import of the runtime, and takes memory after it."""
    sheet.put("import_ms", time_ms(_import))
    put_memory(sheet)


def _import() -> None:
    import osd_edge.runtime  # noqa: F401
