"""The table of branches: a file below the least fails it, whatever the others have."""

from pathlib import Path

import pytest

from fuzz.coverage_table import print_table
from fuzz.targets.seeds import PROJECT

FILES = [PROJECT / "osd_edge" / "formats" / name for name in ("heads.py", "container.py")]


@pytest.mark.parametrize(
    ("reached", "status"), [((100, 100), 0), ((95, 95), 0), ((94, 100), 1), ((0, 0), 1)]
)
def test_each_file_needs_its_branches(
    reached: tuple[int, int], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        path: {
            "summary": {"num_branches": 100, "covered_branches": count},
            "missing_branches": [[7, 8]],
        }
        for path, count in zip(FILES, reached, strict=True)
    }
    assert print_table(FILES, found) == status
    printed = capsys.readouterr().out
    assert f"| `osd_edge/formats/heads.py` | 100 | {reached[0]:.1f} % | 7 → 8 |" in printed
    assert ("fewer than 95 %" in printed) is bool(status)


def test_a_file_that_no_process_read_fails_it(tmp_path: Path) -> None:
    assert print_table(FILES, {}) == 1
