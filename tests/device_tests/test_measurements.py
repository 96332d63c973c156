"""The page of measurements says of every figure whether it is native or emulated."""

from benchmarks.measurements_page import heading, page
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import withhold_times
from tests.support.reports import made_up


def test_the_page_sets_native_and_emulated_side_by_side() -> None:
    native, emulated = made_up(), made_up()
    emulated["machine"] |= {"kind": "emulated", "emulator": "a small board"}
    withhold_times(emulated, "emulated")
    text = page([native, check_report(emulated)])
    assert heading(native) == "Native: a <processor>, 1 thread"
    assert "## Emulated: a small board, 1 thread" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| swap from its file"))
    assert line == "| swap from its file, ms | 4.00 | withheld |"
    (line,) = (line for line in text.splitlines() if line.startswith("| memory (PSS), all tasks"))
    assert line.count("108.0 MiB") == 2
    assert text.count("\n# ") == 0 and text.startswith("# Measurements")
