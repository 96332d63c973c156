"""A user's mistake at the command line, and how it must be refused."""

from pathlib import Path

import pytest

from tests.support.command_line import Result, run_cli


def assert_refused(result: Result, code: str, *words: str) -> None:
    assert result.code == 1, result
    assert f"[{code}]" in result.err, result.err
    last = result.err.strip().splitlines()[-1]
    for word in words:
        assert word in last
    assert "Traceback" not in result.err
    assert len(last) < 500


def export(
    capsys: pytest.CaptureFixture[str], models: Path, *more: object, **paths: Path
) -> Result:
    """Export the task; options in `more` win over the standard ones."""
    given = {str(word) for word in more}
    standard: list[object] = []
    for option, value in (
        ("--base", paths.get("base", models / "base")),
        ("--tuned", paths.get("tuned", models / "first")),
        ("--calibration", models / "examples.tsv"),
        ("-o", models / "out" / "task.osd.safetensors"),
    ):
        if option not in given:
            standard += [option, value]
    result = run_cli(capsys, "export", "task", *standard, *more)
    if result.code:
        assert not any((models / "out").iterdir()), "something was left behind"
    return result
