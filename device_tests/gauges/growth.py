"""Measures memory as one thing after another is added, and what each one adds."""

from collections.abc import Callable

from osd_edge.device_tests.gauges.memory import MemoryUse, available_bytes, put_memory, read_memory
from osd_edge.device_tests.job.sheet import Sheet

_SPARE_BYTES = 32 << 20  # what is left to the rest of the machine
_PEAK = 1.25  # opening a model takes more for a moment than it does afterwards


def put_growth(
    sheet: Sheet, most: int, grow: Callable[[int], object], *, first_needs: int = 0
) -> int:
    """Calls `grow(0)`, `grow(1)`, … up to `most` times, notes memory, returns how often it did.

    It stops where `grow` returns False: there is no more. With `first_needs`, the bytes that the
    first one is guessed to take, it stops before memory runs out: where one more of what the
    last one took would not fit.
    """
    recorded = counts_up_to(most)
    start = use = read_memory()
    put_memory(sheet.add_row(tasks=0))
    needs = first_needs * _PEAK
    grown = 0
    while grown < most:
        room = available_bytes()
        if needs and room is not None and room < needs + _SPARE_BYTES:
            break
        before = _used_bytes(use)
        if grow(grown) is False:
            break
        grown += 1
        use = read_memory()
        if first_needs:
            needs = max(1, _used_bytes(use) - before) * _PEAK
        if grown in recorded:
            put_memory(sheet.add_row(tasks=grown))
    if grown and grown not in recorded:
        put_memory(sheet.add_row(tasks=grown))
    put_memory(sheet)
    sheet.put("fitting_count", grown)
    sheet.put("wanted_count", most)
    added = _used_bytes(use) - _used_bytes(start)
    sheet.put("per_task_bytes", added / grown if use is not None and grown else None)
    return grown


def counts_up_to(most: int) -> list[int]:
    """Lists 1, 2, 4, … and `most`."""
    return sorted({most} | {2**i for i in range(most.bit_length()) if 2**i <= most})


def _used_bytes(use: MemoryUse | None) -> int:
    return 0 if use is None else use.pss or use.rss or 0
