"""Rows that a model was trained on, told from new ones by how sure and how right it is."""

import pytest
import torch

from osd_edge.errors import DataError
from osd_edge.exporters.scoring.batches import Batch
from osd_edge.exporters.scoring.calibration import Calibration
from osd_edge.exporters.scoring.familiar_rows import RowFamiliarity, check_new, familiarity

LABELS = 4


class Known:
    """A model that gives the logits of the rows it is asked for."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, rows: torch.Tensor) -> "Known":
        return Known(self.logits[rows])


def rows_of(count: int, temperature: float, seed: int, kind: str = "labels") -> Calibration:
    """Rows whose labels come as often as the logits over `temperature` say.

    At 1 the model is as right as it is sure, above it is surer than right.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, LABELS, generator=generator)
    chances = (logits / temperature).softmax(-1)
    labels = torch.multinomial(chances, 1, generator=generator)[:, 0]
    batch = Batch({"rows": torch.arange(count)}, labels, tuple(range(count)))
    return Calibration([batch], Known(logits), kind=kind)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("temperature", "seen"), [(0.7, True), (1.0, True), (2.0, False)])
def test_a_model_that_is_no_surer_than_right_knows_the_rows(
    temperature: float, seen: bool, seed: int
) -> None:
    found = familiarity([rows_of(1000, temperature, seed), rows_of(600, temperature, seed + 50)])
    assert found is not None and found.seen is seen and found.rows == 1600
    assert (found.sure > found.right + 0.05) is not seen


def test_a_few_rows_do_not_tell() -> None:
    verdicts = [familiarity([rows_of(30, 1.0, seed)]) for seed in range(20)]
    untold = sum(found is not None and found.seen is None for found in verdicts)
    assert untold >= 15


def test_what_is_told_is_what_was_counted() -> None:
    """The model is sure of two rows by 0.9 and by 0.6, and answers one of them right."""
    logits = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log()
    batch = Batch({"rows": torch.arange(2)}, torch.tensor([0, 0]), (0, 1))
    found = familiarity([Calibration([batch], Known(logits))])
    assert found is not None
    assert found.sure == pytest.approx(0.75) and (found.right, found.rows) == (0.5, 2)
    # −ln 0.9 less the entropy of (0.9, 0.1), and −ln 0.4 less that of (0.4, 0.6).
    first, second = 0.105361 - 0.325083, 0.916291 - 0.673012
    mean, spread = (first + second) / 2, (second - first) / 2
    assert found.excess == pytest.approx(mean / spread, abs=1e-4)


def test_rows_without_one_label_do_not_tell() -> None:
    unlabelled = rows_of(100, 1.0, 0)
    batch = Batch({"rows": torch.arange(100)}, None, tuple(range(100)))
    unlabelled = Calibration([batch], Known(torch.zeros(100, LABELS)))
    assert familiarity([unlabelled]) is None
    assert familiarity([]) is None


def test_rows_that_are_all_alike_do_not_tell() -> None:
    batch = Batch({"rows": torch.arange(100)}, torch.zeros(100, dtype=torch.int64), (*range(100),))
    found = familiarity([Calibration([batch], Known(torch.zeros(100, LABELS)))])
    assert found is not None and found.seen is None


def test_only_rows_that_are_known_are_refused() -> None:
    for seen in (None, False):
        check_new(RowFamiliarity(seen=seen, sure=0.9, right=0.8, excess=0.1, rows=100))
    check_new(None)
    with pytest.raises(DataError, match=r"90\.0% sure.*--score-on FILE.*--trust-rows") as refused:
        check_new(RowFamiliarity(seen=True, sure=0.9, right=0.95, excess=-0.1, rows=900))
    assert refused.value.code == "data.seen"
