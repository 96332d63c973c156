"""Progress bars: one line on a terminal, a line each in a pipe, and of what work is a part."""

import io
import os
import sys

import pytest

from osd_edge.cli.bars import bar, leave_bars
from osd_edge.errors import BudgetError, Code
from tests.support.command_line import run_cli


class Terminal(io.StringIO):
    """A terminal that keeps what it was sent."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The lines that are left to see: a carriage return goes back to the line's begin."""
        seen = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            seen.append("".join(cells).rstrip())
        return seen


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The terminal that standard error is now; pytest would take it back after a fixture."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def test_inner_work_says_which_part_of_the_outer_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    shown = []
    for _ in bar(["a", "b", "c"], "Methods and budgets"):
        for _ in bar(range(2), "Refining scales"):
            shown.append(terminal.screen)
    assert [len(lines) for lines in shown] == [1] * 6  # one line, whatever is at work
    assert shown[0][0].startswith("1/3 · Refining scales  [---")
    assert shown[5][0].startswith("3/3 · Refining scales  [###############---------------]   50%")
    assert terminal.screen == [f"Methods and budgets  [{'#' * 30}]  100%", ""]


def test_the_outer_bar_is_back_once_the_inner_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    for _ in bar(range(4), "Methods and budgets"):
        for _ in bar(range(3), "A label that is longer than that of the outer bar, by far"):
            pass
        (line,) = terminal.screen
        assert line.startswith("Methods and budgets  [") and "label" not in line


def test_three_levels_and_steps_of_an_unknown_number(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    for _ in bar(["one"], "Tasks"):
        for _ in bar((name for name in "xy"), "Settings"):
            for _ in bar("z", "Refining"):
                last = terminal.screen
    assert last[0].startswith("1/1 · 2 · Refining  [")


def test_inner_work_that_is_broken_off_leaves_the_outer_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = a_terminal(monkeypatch)
    for _ in bar(range(2), "Outer"):
        for _ in bar(range(9), "Inner"):
            break
        assert terminal.screen[0].startswith("Outer  [")


def test_a_narrow_terminal_keeps_to_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    for _ in bar(range(27), "Methods and budgets"):
        for _ in bar(range(2), "Refining scales of every layer that there is"):
            assert all(len(line) < 40 for line in terminal.screen)
    assert terminal.screen[0].endswith("100%")


def test_a_pipe_gets_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in bar(range(2), "Methods and budgets"):
        for _ in bar(range(50), "Refining scales"):
            pass
    assert capsys.readouterr().err.splitlines() == [
        "Methods and budgets",
        "1/2 · Refining scales",
        "2/2 · Refining scales",
    ]


def test_a_refusal_begins_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = a_terminal(monkeypatch)

    def refuse(_: object) -> None:
        for _number in bar(range(3), "Digests of the base package"):
            raise BudgetError(Code.BUDGET_TOO_SMALL, "too small")

    monkeypatch.setattr("osd_edge.formats.package.manifest_reader.read_manifest", refuse)
    run_cli(capsys, "verify", os.devnull, "--base", ".")
    assert terminal.screen[-2:] == ["osd-edge: too small [budget.too-small]", ""]
    leave_bars()
    for _ in bar("a", "Later work"):
        assert terminal.screen[-1].startswith("Later work")  # within nothing
