"""Bundles of every version fit a base package that this version makes of the same model."""

from pathlib import Path

import numpy as np
import pytest

from osd_edge.exporters import export_base
from osd_edge.runtime import EdgeSession
from tests.compatibility.answers import FILES, expected_of, logits_of
from tests.compatibility.saved_models import FIRST, MODELS


@pytest.mark.parametrize("version", sorted(folder.name for folder in FILES.iterdir()))
def test_a_bundle_fits_a_base_that_was_made_anew(version: str, tmp_path: Path) -> None:
    export_base(MODELS / FIRST / "bert" / "base", tmp_path / "base")
    session = EdgeSession(tmp_path / "base", threads=1)
    for task, answers in expected_of(version).items():
        session.load(FILES / version / f"{task}.osd.safetensors")
        assert np.abs(np.array(logits_of(session, task)) - answers).max() <= 1e-4
