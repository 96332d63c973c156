"""Copies of small models that a test of the command line may spoil."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of base, fine-tuned model and examples that a test may spoil; `out` stays empty."""
    for name in ("base", "first"):
        shutil.copytree(tiny_models / name, tmp_path / name)
    shutil.copy(tiny_models / "examples.tsv", tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path
