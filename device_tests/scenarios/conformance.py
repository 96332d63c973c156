"""Plays conformance: whether this device reads bundles and runs a model as recorded."""

from typing import Any

from osd_edge.device_tests.conformance.checks import run_conformance
from osd_edge.device_tests.job.sheet import Job, Sheet


def run(job: Job, sheet: Sheet) -> dict[str, Any]:
    """Returns the conformance part of the report."""
    return dict(run_conformance())
