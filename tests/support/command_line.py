"""Running the command line in this process, as `osd-edge` itself would."""

import sys
from dataclasses import dataclass

import pytest

from osd_edge.cli.main import main


@dataclass(frozen=True)
class Result:
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Run `osd-edge ARGUMENTS`; an exception that is not an exit is a failure of the test."""
    argv = sys.argv
    sys.argv = ["osd-edge", *map(str, arguments)]
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)
