"""Tiny models that are taken for large ones."""

import pytest

from osd_edge.exporters.models import large as large_models


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every model is a large one."""
    monkeypatch.setattr(large_models, "LARGE", 0)
    return monkeypatch
