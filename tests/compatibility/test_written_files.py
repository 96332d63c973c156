"""Packages and bundles that every released version wrote are still read, to the same answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from osd_edge import __version__
from osd_edge.exporters import export_base
from osd_edge.runtime import EdgeSession
from tests.compatibility.saved_models import FIRST, MODELS
from tests.compatibility.written_files import BUNDLES, FILES, logits_of

VERSIONS = sorted(folder.name for folder in FILES.iterdir())


def test_the_files_of_this_version_are_there() -> None:
    assert __version__ in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_wrote_answers_as_it_did_then(version: str) -> None:
    folder = FILES / version
    expected = json.loads((folder / "answers.json").read_text("utf-8"))
    assert expected.keys() >= BUNDLES.keys() if version == __version__ else expected
    session = EdgeSession(folder / "base", threads=1)
    for task, answers in expected.items():
        assert session.load(folder / f"{task}.osd.safetensors") == task
        assert np.abs(np.array(logits_of(session, task)) - answers).max() <= 1e-4
    assert len({json.dumps(answers) for answers in expected.values()}) == len(expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_fits_a_base_that_this_version_makes_of_the_same_model(
    version: str, tmp_path: Path
) -> None:
    export_base(MODELS / FIRST / "bert" / "base", tmp_path / "base")
    session = EdgeSession(tmp_path / "base", threads=1)
    expected = json.loads((FILES / version / "answers.json").read_text("utf-8"))
    for task, answers in expected.items():
        session.load(FILES / version / f"{task}.osd.safetensors")
        assert np.abs(np.array(logits_of(session, task)) - answers).max() <= 1e-4
