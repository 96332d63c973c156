"""Real models and data beside the project: tests that need them skip where they are absent."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"
CHECKPOINTS = ("trec", "mr", "goemotions", "banking77")


def require_shared() -> Path:
    """The folder with `checkpoints` and `data`; skips the test without it, but never in CI."""
    if not (SHARED / "checkpoints").is_dir():
        reason = "needs ../shared/checkpoints and ../shared/data, which are not beside the project"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED
