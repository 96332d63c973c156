"""The examples in the docstrings of the public face run, and show what they say."""

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from osd_edge import device_tests
from tests.support.reports import made_up


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a report, and one of before whose swaps took longer."""
    old = made_up()
    (swap,) = (scenario for scenario in old["scenarios"] if scenario["id"] == "swap")
    cold: Any = swap["figures"]["cold_ms"]
    swap["figures"]["cold_ms"] = cold | {key: 2 * cold[key] for key in cold if key != "n"}
    for name, report in (("report.json", made_up()), ("old.json", old)):
        (tmp_path / name).write_text(json.dumps(report))
    monkeypatch.chdir(tmp_path)
    # The processes that `measure` starts from there import the code that is tested here.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("name", device_tests.__all__)
def test_the_examples_of_a_public_name_run(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    tests = doctest.DocTestFinder(recurse=False).find(getattr(device_tests, name), name, globs={})
    output: list[str] = []
    for test in tests:
        runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).attempted > 0, f"{name} has no example"
    assert runner.failures == 0, "".join(output)
