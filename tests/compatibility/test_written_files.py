"""Packages and bundles that every version wrote are still read, to the same answers."""

import json

import numpy as np
import pytest

from osd_edge import __version__
from osd_edge.runtime import EdgeSession
from tests.compatibility.answers import FILES, expected_of, logits_of

VERSIONS = sorted(folder.name for folder in FILES.iterdir())
BASES = [(folder.name, base.name) for folder in FILES.iterdir() for base in folder.glob("base*")]


def test_the_files_of_this_version_are_there() -> None:
    assert __version__ in VERSIONS


@pytest.mark.parametrize(("version", "base"), sorted(BASES))
def test_what_a_version_wrote_answers_as_it_did_then(version: str, base: str) -> None:
    expected = expected_of(version)
    bundles = {path.name.partition(".")[0] for path in (FILES / version).glob("*.safetensors")}
    assert expected and bundles == expected.keys()
    session = EdgeSession(FILES / version / base, threads=1)
    for task, answers in expected.items():
        assert session.load(FILES / version / f"{task}.osd.safetensors") == task
        near = 1e-4 if base == "base" else 5e-3  # factors in fp16
        assert np.abs(np.array(logits_of(session, task)) - answers).max() <= near
    assert len({json.dumps(answers) for answers in expected.values()}) == len(expected)
