"""Refusals of bundles say what to do, whatever is wrong with the file."""

from pathlib import Path

import pytest

from osd_edge.errors import BundleError
from osd_edge.formats.bundle.reader import read_bundle_file

VECTORS = Path(__file__).parents[2] / "vectors" / "v1" / "invalid"
WHAT_TO_DO = ("again", "update osd-edge", "not a task bundle", "needs more bytes")


@pytest.mark.parametrize("path", sorted(VECTORS.iterdir()), ids=lambda path: path.stem)
def test_a_refused_bundle_says_what_to_do(path: Path) -> None:
    try:
        read_bundle_file(path)
    except BundleError as refused:
        words = str(refused)
        assert words.startswith(f"{path}: ")
        assert any(advice in words for advice in WHAT_TO_DO), words
        assert "again: copy" not in words
    else:  # refused against a base alone
        assert path.stem.startswith(("base", "site", "head", "text", "vectors"))
