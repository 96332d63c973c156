"""Swaps for long: memory must stay where it was after warm-up.

Every swap decodes, since the session may keep only one decoded task, and every tenth also reads
the file anew. What is judged is anonymous memory, which other programs cannot move.
"""

import math
from statistics import median

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.gauges.memory import put_memory, read_memory
from osd_edge.device_tests.job.sessions import open_session, short_inputs, task_files
from osd_edge.device_tests.job.sheet import Job, Sheet

LIMIT_BYTES = 1 << 20  # what the allocator's own ups and downs stay under
_MEMORY_SAMPLES = 40
_WARM_UP = 0.25  # of the swaps
_RELOAD_EVERY = 10


def run(job: Job, sheet: Sheet) -> None:
    """Does the job's number of swaps with a short run each, and takes memory now and then."""
    session = open_session(job, cache_bytes=1)
    inputs = short_inputs(job, session.manifest)
    files = task_files(job)
    for name, path in files:
        session.load(path, name)
    samples = min(_MEMORY_SAMPLES, job.soak_swaps)
    every = math.ceil(job.soak_swaps / samples)
    seen: list[tuple[int, int]] = []
    for i in range(job.soak_swaps):
        name, path = files[i % len(files)]
        if i % _RELOAD_EVERY == 0:
            session.unload(name)
            session.load(path, name)
        session.activate(name)
        session.run(inputs)
        if (i + 1) % every == 0:
            use = read_memory()
            if use is not None and use.rss is not None:
                row = sheet.add_row(swaps=i + 1)
                judged = use.rss if use.anonymous is None else use.anonymous
                row.put("pss_bytes", use.pss)
                row.put("anonymous_bytes", use.anonymous)
                seen.append((i + 1, judged))
    put_memory(sheet)
    sheet.put("swaps_count", job.soak_swaps)
    growth = _growth([size for swaps, size in seen if swaps > _WARM_UP * job.soak_swaps])
    sheet.put("growth_bytes", growth, "not available here: no /proc, or too few swaps")
    sheet.put("growth_limit_bytes", LIMIT_BYTES)
    if growth is not None:
        sheet.check(
            "no-growth",
            growth <= LIMIT_BYTES,
            f"{job.soak_swaps} swaps after warm-up added {format_size(growth)} "
            f"(allowed: {format_size(LIMIT_BYTES)})",
        )


def _growth(sizes: list[int]) -> float | None:
    """Subtracts the first third's median from the last third's."""
    third = len(sizes) // 3
    return median(sizes[-third:]) - median(sizes[:third]) if third else None
