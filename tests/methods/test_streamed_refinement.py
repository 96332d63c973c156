"""Refinement of large models: the same as of one in memory, where it takes the same texts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from osd_edge.exporters.methods.osd_rd import compress, refine
from osd_edge.exporters.methods.osd_rd.student import Student
from osd_edge.exporters.methods.stored.latents import Latents
from osd_edge.exporters.models import large as large_models
from osd_edge.exporters.models.streamed import StreamedLinear
from tests.support.exports import export_bytes


@pytest.mark.parametrize("base_weights", ["fp32", "int8"])
def test_a_streamed_student_learns_as_one_in_memory(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_weights: str
) -> None:
    """To the byte, with steps of the same texts."""
    monkeypatch.setattr(compress, "_STREAMED_BATCH", 16)
    monkeypatch.setattr(compress, "_STREAMED_SAMPLED", 16)
    monkeypatch.setattr(compress, "training_dtype", lambda: torch.float32)
    streamed: list[set[bool]] = []
    refined = refine.refine

    def watched(student: Student, *arguments: Any, **options: Any) -> Latents:
        layers = student.sites.values()
        streamed.append({isinstance(layer.frozen, StreamedLinear) for layer in layers})
        return refined(student, *arguments, **options)

    monkeypatch.setattr(compress, "refine", watched)
    found = []
    options: dict[str, Any] = {
        "calibration": tiny_models / "examples.tsv",
        "base_weights": base_weights,
    }
    for limit in (large_models.LARGE, 0):
        monkeypatch.setattr(large_models, "LARGE", limit)
        found.append(export_bytes(tiny_models, tmp_path, refine="scales", **options))
    assert found[0] == found[1]
    # Weights that are rounded on the way are kept, since rounding them takes longer than reading.
    assert streamed == [{False}, {base_weights == "fp32"}]
