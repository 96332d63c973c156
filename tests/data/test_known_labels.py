"""Labels of a file against those of a model: names, and numbers where it is sure what they mean."""

from pathlib import Path

import pytest

from osd_edge import Example
from osd_edge.data.labels import with_known_labels
from osd_edge.errors import DataError

FILE = Path("rows.tsv")
NAMES = ("negative", "neutral", "positive")


def labels(*found: str, names: tuple[str, ...] = NAMES) -> list[str | None]:
    examples = [Example("a", label, line=n) for n, label in enumerate(found, 7)]
    return [example.label for example in with_known_labels(FILE, examples, names)]


def test_names_are_taken_with_blanks_around_them() -> None:
    assert labels("negative", " positive") == ["negative", "positive"]


def test_numbers_count_outputs_where_they_begin_at_0() -> None:
    assert labels("2", "0", "0") == ["positive", "negative", "negative"]


def test_numbers_that_are_names_stay_names() -> None:
    assert labels("1", "0", names=("1", "0")) == ["1", "0"]


@pytest.mark.parametrize("found", [("1", "2"), ("0", "3"), ("0", "positive"), ("0", "1.0")])
def test_numbers_that_may_mean_something_else_are_refused(found: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"rows\.tsv line [78]: the model does not know") as refused:
        labels(*found)
    assert refused.value.code == "data.label"


def test_the_refusal_of_a_number_says_when_one_would_do() -> None:
    with pytest.raises(DataError, match="its 3 outputs where all are 0 to 2"):
        labels("1", "2")


def test_an_example_without_a_label_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        with_known_labels(FILE, [Example("a", "negative"), Example("b")], NAMES)
    assert refused.value.code == "data.unlabelled"
