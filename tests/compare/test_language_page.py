"""The chapter on tasks that generate text: its tables, its place, and what is missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.language_page import chapter, chapter_in, outcome_of, with_chapter
from benchmarks.language_results import main
from osd_edge.exporters.compare.comparison import Outcome, Point
from osd_edge.exporters.compare.scored_rows import ScoreWithError


def point(method: str, budget: str | None, size: int, accuracy: float, loss: float) -> Point:
    return Point(
        *(method, budget, size, accuracy, 12.0, (f"files/{method}.bin",)),
        detail={"rank": 2},
        loss=loss,
        loss_error=0.01,
        next_same=0.9,
    )


OUTCOME = Outcome(
    *("snips", 0, 0, 400, 240, 0, 9_000_000, 0.6, 0.6, 0.1, None, None),
    points=(
        point("osd-rd-none", "64KiB", 65_000, 0.5, 0.3),
        point("lora", "r=1", 600_000, 0.475, 0.32),
        point("osd-rd-codes", "64KiB", 65_400, 0.575, 0.25),
        point("control-zero", "64KiB", 65_300, 0.2, 0.7),
        point("lora-own-int4", None, 1_200_000, 0.6, 0.21),
        Point("truncsvd", "64KiB", refused="too small [budget.too-small]"),
    ),
    kind="generate",
    scores={
        "fine_tuned": ScoreWithError(0.6, 0.2, 0.01, 1.0),
        "linear_only": ScoreWithError(0.6, 0.2, 0.01, 1.0),
        "zero_delta": ScoreWithError(0.1, 1.2, 0.03, 0.5),
    },
    left=(("bitdelta", None), ("osd", "32KiB"), ("osd", "1MiB"), ("lora", "r=2")),
)


def test_an_outcome_comes_back_from_its_file() -> None:
    assert outcome_of(json.loads(json.dumps(OUTCOME.as_dict()))) == OUTCOME


def test_the_tables() -> None:
    text = chapter([OUTCOME], "picture.png")
    assert "writes 60.0 ± 2.4 % exactly at 0.2000 ± 0.0100 nats" in text
    # 80 % of the gain of fifty points, of which 2.5 points of error are 5 %; 90 % of 1 nat.
    row = (
        "| osd-rd-none | 64KiB | 65,000 | 50.0 ± 2.5 | 0.3000 ± 0.0100 | 90.0 | 80.0 ± 5.0 | 90.0 "
    )
    assert row in text
    assert "| truncsvd | 64KiB | – | – | – | – | – | – |  | too small [budget.too-small] |" in text
    assert "Not measured: bitdelta; osd; lora at r=2." in text
    smallest = text.split("| gain % | ours")[1]
    assert "| 70.0 | osd-rd-none 64KiB | 65,000 | lora r=1 | 600,000 | 9.2 × |" in smallest
    assert (
        "| 90.0 | osd-rd-codes 64KiB | 65,400 | lora-own-int4  | 1,200,000 | 18.3 × |" in smallest
    )
    controls = text.split("Controls of")[1]
    assert "| osd-rd-codes | 64KiB | 65,400 |" in controls
    assert "| control-zero | 64KiB | 65,300 | 20.0 ± 2.0 |" in controls


def test_a_comparison_of_nothing_yet_has_a_chapter() -> None:
    text = chapter([replace(OUTCOME, points=(), left=(("lora", "r=1"),))], "picture.png")
    assert "Not measured: lora." in text and "| gain % | ours" not in text


def test_no_gain_is_no_share() -> None:
    text = chapter([replace(OUTCOME, fine_tuned=0.11)], "picture.png")
    assert (
        "| osd-rd-none | 64KiB | 65,000 | 50.0 ± 2.5 | 0.3000 ± 0.0100 | 90.0 | – | 90.0 |" in text
    )


@pytest.mark.parametrize("page", ["# Results\n\nOne.\n", "# Results\n", "# Results\n\n## A\n\nx\n"])
def test_the_chapter_is_made_anew_in_its_place(page: str) -> None:
    first, second = chapter([OUTCOME], "a.png"), chapter([OUTCOME], "b.png")
    whole = with_chapter(page, first)
    assert whole.startswith(page.rstrip("\n")) and chapter_in(whole) == first
    assert chapter_in(page) == "" and with_chapter(page, "") == page
    assert with_chapter(whole, second) == with_chapter(page, second)
    after = f"{whole}\n## More\n"
    assert with_chapter(after, second).endswith("\n## More\n")


def test_the_page_of_outcome_files(tmp_path: Path) -> None:
    report, outcome = tmp_path / "results.md", tmp_path / "comparison.json"
    report.write_text("# Results\n\nOf labels.\n")
    outcome.write_text(json.dumps(OUTCOME.as_dict()))
    for _ in range(2):
        done = CliRunner().invoke(main, ["--outcome", str(outcome), "--report", str(report)])
        assert done.exit_code == 0, done.output
        assert "4 points missing" in done.output
    text = report.read_text()
    assert text.count("## Tasks that generate text") == 1 and text.startswith("# Results\n\nOf")
    assert (tmp_path / "results-text.png").read_bytes().startswith(b"\x89PNG")
    assert "osd-rd-codes" in (tmp_path / "results-text.csv").read_text()
