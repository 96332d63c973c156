"""Measures of answers, against the libraries that the field counts with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from osd_edge.runtime import Evaluation
from osd_edge.runtime.measures.answer_texts import exact_and_f1
from osd_edge.runtime.measures.correlation import correlations
from osd_edge.runtime.measures.entities import entities_of, f1_of_sets
from osd_edge.runtime.measures.retrieval import cosines, recalls

NUMBERS = st.lists(st.tuples(*[st.integers(-4, 4)] * 2), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("tags", "entities"),  # as seqeval 1.2.2 gives them, the last word's number raised by one
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("I-PER I-PER I-LOC", {("PER", 0, 2), ("LOC", 2, 3)}),
        ("B-PER B-PER I-LOC O", {("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 3)}),
        ("S-PER B-LOC I-LOC E-LOC E-LOC", {("PER", 0, 1), ("LOC", 1, 4), ("LOC", 4, 5)}),
        ("I-PER O I-PER", {("PER", 0, 1), ("PER", 2, 3)}),
        ("B-A-B I-A-B", {("A-B", 0, 2)}),
        ("PER PER O LOC", {("PER", 0, 2), ("LOC", 3, 4)}),  # without prefixes: as if of I-
        ("O O", set()),
        ("", set()),
    ],
)
def test_entities_are_those_of_seqeval(tags: str, entities: set[tuple[str, int, int]]) -> None:
    assert entities_of(tags.split()) == entities


def test_f1_is_over_all_rows() -> None:
    """The tagger finds 2 of 4 right entities, and 1 that is none."""
    rows = [({"a", "b"}, {"a"}), ({"c", "d"}, {"c", "e"}), (set(), set())]
    scores = f1_of_sets(rows)
    assert scores == pytest.approx({"precision": 2 / 3, "recall": 0.5, "f1": 4 / 7})
    assert f1_of_sets([(set(), set())]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


@given(NUMBERS)
def test_correlations_are_those_of_scipy(rows: list[tuple[int, int]]) -> None:
    ours, right = (np.array(side, float) for side in zip(*rows, strict=True))
    found = correlations(ours, right)
    if len(set(ours)) == 1 or len(set(right)) == 1:
        assert found == {"pearson": None, "spearman": None}
        return
    expected = {
        "pearson": stats.pearsonr(ours, right).statistic,
        "spearman": stats.spearmanr(ours, right).statistic,
    }
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("given_", "right", "exact", "f1"),
    [
        ("The Eiffel Tower!", ["Eiffel tower"], 1.0, 1.0),
        ("Eiffel", ["the Eiffel Tower", "Paris"], 0.0, 2 / 3),
        ("in Paris, in Paris", ["in Paris"], 0.0, 2 / 3),  # words count as often as they come
        ("", [], 1.0, 1.0),
        ("Paris", [], 0.0, 0.0),
        ("", ["Paris"], 0.0, 0.0),
    ],
)
def test_answers_are_counted_as_squad_does(
    given_: str, right: list[str], exact: float, f1: float
) -> None:
    assert exact_and_f1(given_, right) == pytest.approx((exact, f1))


def test_recall_counts_how_far_down_a_partner_is() -> None:
    angles = np.radians([0, 20, 90, 95])
    partners = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    asked = partners[[1, 0, 2, 3]] * 5  # length does not count
    found = recalls(asked, partners, ["a", "b", "c", "d"])
    assert found["recall@1"] == 0.5 and found["recall@10"] == 1.0
    assert found["mean_reciprocal_rank"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1) / 4)


def test_partners_that_are_the_same_text_are_one() -> None:
    partners = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert recalls(partners, partners, ["a", "a", "b"])["recall@1"] == 1.0


def test_vectors_that_are_all_alike_find_nothing() -> None:
    same = np.ones((50, 4), np.float32)
    found = recalls(same, same, [str(i) for i in range(50)])
    assert found["recall@1"] == found["recall@10"] == 0.0


@given(st.integers(0, 99))
def test_cosines_are_between_rows(seed: int) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 5, 3)).astype(np.float32)
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y, strict=True)]
    assert cosines(x, y) == pytest.approx(expected, abs=1e-6)
    assert cosines(x, 0 * x).tolist() == [0] * 5


def test_an_evaluation_can_be_kept_in_a_set() -> None:
    assert len({Evaluation("mr", 0.5, 2), Evaluation("mr", 0.5, 2)}) == 1
