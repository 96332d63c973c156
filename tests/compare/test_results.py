"""Means of `make results` over tasks and draws, and that its results are of the code at hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.results_data import Results
from benchmarks.results_page import page
from osd_edge.exporters.compare import kept_results
from osd_edge.exporters.compare.comparison import Outcome, Point


def outcome(task: str, seed: int, **accuracies: float) -> Outcome:
    """One draw of a task whose fine-tuning gains ten points over a probe of 0.8."""
    points = tuple(Point(name, "16KiB", 16_000, value) for name, value in accuracies.items())
    return Outcome(task, seed, 2, 100, 100, 0, 1, 0.9, 0.9, 0.5, 0.8, None, points)


def results(**drawn: list[Outcome]) -> Results:
    return Results(drawn, ("osd-rd-codes",), ("control-lora",), {}, ())


def test_every_draw_counts_in_the_mean_share() -> None:
    """A draw that only one task has is no reason to leave it out: its task's mean has it."""
    found = results(
        trec=[outcome("trec", 0, codes=0.89), outcome("trec", 1, codes=0.87)],
        mr=[outcome("mr", 0, codes=0.85)],
        goemotions=[outcome("goemotions", 0, codes=0.86)],
    ).mean_gain(("codes", "16KiB"))
    assert found is not None
    assert found.mean == pytest.approx((0.8 + 0.5 + 0.6) / 3)
    assert found.low == pytest.approx((0.7 + 0.5 + 0.6) / 3)
    assert found.high == pytest.approx((0.9 + 0.5 + 0.6) / 3)


def test_no_mean_share_where_a_task_has_none() -> None:
    found = results(trec=[outcome("trec", 0, codes=0.89)], mr=[outcome("mr", 0)])
    assert found.mean_gain(("codes", "16KiB")) is None


def test_a_control_is_no_peer() -> None:
    """What would be as small as ours, but is ours without the delta, is not to be picked."""
    accuracies = {"osd-rd-codes": 0.85, "control-random": 0.86, "control-lora": 0.84}
    text = page(results(trec=[outcome("trec", 0, **accuracies, lora=0.87)]), "picture.png")
    equal, refined = text.split("## Against refined peers")
    assert "| trec | osd-rd-codes 16KiB | 16,000 | 85.0 | lora 16KiB |" in equal
    assert "control-random" not in equal.split("## Size at equal accuracy")[1]
    assert "| osd-rd-codes 16KiB | 16,000 | 85.0 | control-lora 16KiB |" in refined


def test_a_model_that_is_always_wrong_has_a_page() -> None:
    wrong = replace(outcome("trec", 0, lora=0.1), fine_tuned=0.0, frozen_probe=None)
    assert "| lora | 16KiB | 16,000 | 10.0 | – | – |" in page(results(trec=[wrong]), "p.png")


def test_a_result_of_other_code_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed code gives other results: those of before are computed anew."""
    kept = kept_results.KeptResults(tmp_path)
    kept.put("bounds", {"task": "trec"}, {"fine_tuned": 0.9})
    assert kept.get("bounds", {"task": "trec"}) == {"fine_tuned": 0.9}
    monkeypatch.setattr(kept_results, "_tool", lambda: "0.1.0 of another source")
    assert kept.get("bounds", {"task": "trec"}) is None
