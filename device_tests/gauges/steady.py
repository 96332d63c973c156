"""Measures runs back to back, as a busy device does them: throughput, and energy if counted."""

import time
from collections.abc import Callable

from osd_edge.device_tests.gauges.rounds import no_garbage_collection
from osd_edge.device_tests.gauges.sensors import put_energy, read_energy
from osd_edge.device_tests.job.sheet import Job, Sheet


def put_steady(sheet: Sheet, job: Job, run: Callable[[], object]) -> None:
    """Notes texts a second and joules a run over at least the job's `runs` and half its seconds."""
    runs = 0
    with no_garbage_collection():
        energy = read_energy()
        start = time.perf_counter()
        while runs < job.runs or time.perf_counter() - start < job.seconds / 2:
            run()
            runs += 1
        took = time.perf_counter() - start
        put_energy(sheet, energy, read_energy(), runs)
    sheet.put("throughput_per_s", runs * len(job.ids) / took)
