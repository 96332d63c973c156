"""Copies of small models, and an adapter, that a test may spoil."""

import shutil
from pathlib import Path

import pytest

from tests.support.checkpoints import write_adapter


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of base and fine-tuned model, and an adapter, that a test may spoil."""
    for name in ("base", "first"):
        shutil.copytree(tiny_models / name, tmp_path / name)
    write_adapter(tmp_path / "adapter")
    return tmp_path
