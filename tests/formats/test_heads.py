"""Heads whose numbers are near an end of fp32."""

import numpy as np
import pytest

from osd_edge.formats.heads import Head, HeadLayer, apply_head, softmax


def layer(weight: float, activation: str | None = None) -> HeadLayer:
    values = np.array([[3, 0], [0, 4]], np.float32) * np.float32(weight)
    return HeadLayer(2, 2, activation, None, weight=values)


@pytest.mark.parametrize("weight", [1e-38, 1e-30, 1e-12, 1.0, 1e20, 5e37])
def test_a_vector_has_length_1_however_small_or_large_it_was(weight: float) -> None:
    head = Head("embedding", "cls", (layer(weight),), normalize=True)
    (vector,) = apply_head(head, np.ones((1, 1, 2), np.float32), None, None)
    assert vector.dtype == np.float32
    assert vector == pytest.approx([0.6, 0.8], abs=1e-6)


def test_a_vector_of_zeros_stays_one() -> None:
    head = Head("embedding", "cls", (layer(0.0),), normalize=True)
    assert apply_head(head, np.ones((1, 1, 2), np.float32), None, None).tolist() == [[0, 0]]


def test_large_numbers_are_made_to_have_variance_1() -> None:
    head = Head("labels", "cls", (layer(1e25, "gelu-norm"),))
    (found,) = apply_head(head, np.ones((1, 1, 2), np.float32), None, None)
    assert found == pytest.approx([-1, 1])


def test_scores_of_logits_that_are_far_apart_come_without_a_warning() -> None:
    assert softmax(np.array([[3e38, -3e38]], np.float32)).tolist() == [[1, 0]]
