"""Tests on the emulated arm64 machine: `make test-emulated`, since they need system packages."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub

from benchmarks.synthetic_tasks import minilm_with_tasks
from osd_edge.device_tests.emulated.build import EmulatedMachine, build

TASKS = 20


@pytest.fixture(scope="session")
def machine() -> EmulatedMachine:
    """The machine, with the project's wheel and arm64 wheels of what it needs."""
    return build()


@pytest.fixture(scope="session")
def minilm() -> tuple[Path, list[Path]]:
    """The base package of all-MiniLM-L6-v2, and bundles of 20 tasks over it."""
    return minilm_with_tasks(TASKS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A last line for programs."""
    counts = {
        name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error")
    }
    failed = counts["failed"] + counts["error"]
    terminalreporter.write_line(f"{counts['passed']} passed, {failed} failed")
