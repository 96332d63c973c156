"""Weights that are written to a graph's data file as they are read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from osd_edge.exporters.graph.external_data import append_weight
from osd_edge.exporters.models import rounding


def test_weights_are_appended_so_that_onnx_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {
        "turned": rng.standard_normal((5, 7)).astype(np.float32).T,
        "codes": rng.integers(0, 256, (3, 2, 16)).astype(np.uint8),
        "halves": rng.standard_normal((4, 3)).astype(np.float16),
    }
    tensors = {name: append_weight(name, a, tmp_path, "data") for name, a in arrays.items()}
    assert all(not tensor.raw_data for tensor in tensors.values())
    for name, array in arrays.items():
        assert np.array_equal(numpy_helper.to_array(tensors[name], str(tmp_path)), array)
    assert (tmp_path / "data").stat().st_size == sum(array.nbytes for array in arrays.values())


@pytest.mark.parametrize("round_", [rounding.int8_rows, rounding.int4_blocks])
def test_rounding_some_rows_at_a_time_changes_nothing(
    round_: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(round_)
    weight = np.random.default_rng(1).standard_normal((37, 70)).astype(np.float32)
    whole = round_(weight)
    monkeypatch.setattr(rounding, "_ELEMENTS", 300)  # four rows
    parts = round_(weight)
    assert np.array_equal(parts.codes, whole.codes) and parts.d == whole.d == 70
    assert np.array_equal(parts.scales, whole.scales)
