"""Files in whose place something else stands, or that change while they are read."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osd_edge.data.bounded_read import read_bounded
from osd_edge.errors import BaseError, BundleError
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.coding import positions
from osd_edge.formats.package.manifest import MANIFEST
from osd_edge.formats.package.manifest_reader import read_manifest


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(path)
    assert read_bounded(path, 5) == read_bounded(tmp_path / "link", 9) == b"12345"
    assert read_bounded(path, 4) is None


def test_a_file_that_grows_is_not_read_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    ask = os.fstat

    def grows(file: int) -> os.stat_result:
        status = ask(file)
        with path.open("ab") as more:
            more.write(b"67890")
        return status

    monkeypatch.setattr(os, "fstat", grows)
    assert read_bounded(path, 100) == b"123456"


@pytest.mark.parametrize("name", ["pipe", "folder", "socket", "loop", "a\0b", "\ud800", "x" * 5000])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        # Bound by a relative name: the whole one may be too long for a socket.
        here = Path.cwd()
        os.chdir(tmp_path)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    with pytest.raises(BundleError) as refused:
        read_bundle_file(tmp_path / name)
    assert refused.value.code == "bundle.missing"
    with pytest.raises(BaseError) as no_base:
        read_manifest(tmp_path / name)
    assert no_base.value.code == "base.missing"


def test_a_pipe_in_the_place_of_a_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(BaseError) as refused:
        read_manifest(tmp_path)
    assert refused.value.code == "base.missing"


@given(st.integers(2, 32), st.data())
def test_indices_are_numbers_of_up_to_32_bits(bits: int, data: st.DataObject) -> None:
    """Too many slots for a mask: the planes are written out here."""
    slots = data.draw(st.integers((1 << bits - 1) + 1, 1 << bits))
    chosen = data.draw(st.sets(st.integers(0, slots - 1), min_size=1, max_size=20))
    if len(chosen) == slots or positions.coding(slots, len(chosen)) != "indices":
        return
    indices = np.array(sorted(chosen), np.int64)
    planes = (indices >> np.arange(bits)[:, None] & 1).astype(np.uint8)
    code = np.packbits(planes, axis=1, bitorder="little").reshape(-1)
    found = positions.decode(code, slots, len(chosen))
    assert found is not None
    assert found.tolist() == indices.tolist()
