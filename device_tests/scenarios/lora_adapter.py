"""Measures onnxruntime's own adapters: the same factors as files, over the same graph.

Its latency is measured in scenario `task`, in the rounds of what it is compared with.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from osd_edge.device_tests.gauges.growth import put_growth
from osd_edge.device_tests.gauges.samples import spread_of, time_ms
from osd_edge.device_tests.gauges.scratch import scratch_folder
from osd_edge.device_tests.job.sessions import (
    WARM_UP_RUNS,
    folder_bytes,
    graph_run,
    inputs_of,
    open_branched,
    task_files,
)
from osd_edge.device_tests.job.sheet import Job, Sheet
from osd_edge.device_tests.scenarios.ort_adapters import (
    check_adapters,
    feeds_of,
    load_adapter,
    options_with,
    write_adapter,
)
from osd_edge.formats.package.manifest_reader import read_manifest

_LOADS = 20
_SWAPS = 400


def run(job: Job, sheet: Sheet) -> None:
    """Writes all adapter files first; then loads and runs one after another."""
    check_adapters()
    base = Path(job.base)
    manifest = read_manifest(base)
    with scratch_folder(job.scratch) as folder:
        bundles = [path for _, path in task_files(job)]
        files = [
            write_adapter(path, manifest, folder / f"{i}.onnx_adapter")
            for i, path in enumerate(bundles)
        ]
        session = open_branched(base, job.threads)
        inputs = inputs_of(job, manifest)
        without = graph_run(session, manifest, inputs)
        for _ in range(WARM_UP_RUNS):
            without()
        adapters: list[Any] = []

        def grow(i: int) -> None:
            adapters.append(load_adapter(files[i]))
            graph_run(session, manifest, inputs, adapter=adapters[-1])()

        put_growth(sheet, len(files), grow)
        sizes = [path.stat().st_size for path in files]
        sheet.put("disk_bytes", folder_bytes(base) + sum(sizes))
        sheet.put("file_bytes", sizes[0])

        fed = graph_run(session, manifest, inputs, feeds_of(bundles[0], manifest))()[0]
        found = graph_run(session, manifest, inputs, adapter=adapters[0])()[0]
        difference = float(np.abs(found - fed).max())
        sheet.check(
            "same-as-fed", difference < 1e-4, f"adapter and fed factors: apart by {difference:.1e}"
        )
        if job.timed:
            loads = [time_ms(partial(load_adapter, files[0])) for _ in range(_LOADS)]
            swaps = [
                time_ms(partial(options_with, adapters[i % len(adapters)])) for i in range(_SWAPS)
            ]
            sheet.put("load_ms", spread_of(loads))
            sheet.put("warm_ms", spread_of(swaps))
