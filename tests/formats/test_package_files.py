"""Base packages whose files are not their own: graphs that read elsewhere, links, other bytes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osd_edge import check_digests, read_manifest
from osd_edge.errors import BaseError
from osd_edge.formats.package.graph_check import check_graphs
from osd_edge.formats.package.manifest import MODEL, PLAIN_MODEL, WEIGHTS
from osd_edge.runtime import EdgeSession
from tests.support.packages import SMALL, change_graph, copied

IDS = {"input_ids": np.array([[4, 5, 6, 7]])}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return copied(SMALL, tmp_path / "package")


def refused(package: Path) -> str:
    """The code that a session refuses the package with."""
    with pytest.raises(BaseError) as refusal:
        EdgeSession(package, threads=1)
    assert "\n" not in str(refusal.value)
    return refusal.value.code


def place_largest(key: str, value: str) -> Any:
    """A change of a graph: its largest tensor is elsewhere in `key`."""

    def change(model: Any) -> None:
        outside = [tensor for tensor in model.graph.initializer if tensor.data_location == 1]
        largest = max(outside, key=lambda tensor: np.prod(tensor.dims))
        next(entry for entry in largest.external_data if entry.key == key).value = value

    return change


@pytest.mark.parametrize(
    "location",
    [
        "../outside",
        "/etc/passwd",
        "sub/inside",
        "./model.onnx.data",
        "unlisted",
        "",
        "model.onnx.dat",
        "*/_ORT_MEM_ADDR_/*",
        "model.onnx.data/../../outside",
        "MODEL.ONNX.DATA",
        "a" * 9999,
    ],
)
def test_weights_are_taken_from_listed_files_alone(package: Path, location: str) -> None:
    (package / "sub").mkdir()
    for outside in (package.parent / "outside", package / "sub" / "inside", package / "unlisted"):
        outside.write_bytes((package / WEIGHTS).read_bytes())
    change_graph(package, place_largest("location", location))
    assert refused(package) == "base.graph"
    with pytest.raises(BaseError) as refusal:
        check_digests(package, read_manifest(package))
    assert refusal.value.code == "base.graph"


def test_weights_are_taken_from_within_the_file(package: Path) -> None:
    change_graph(package, place_largest("offset", str((package / WEIGHTS).stat().st_size)))
    assert refused(package) == "base.graph"


def test_the_graph_without_branches_is_held_to_the_same(package: Path) -> None:
    check_digests(package, read_manifest(package))
    change_graph(package, place_largest("location", "../outside"), PLAIN_MODEL)
    manifest = read_manifest(package)
    for check in (check_digests, check_graphs):
        with pytest.raises(BaseError) as refusal:
            check(package, manifest)
        assert refusal.value.code == "base.graph"
    EdgeSession(package, threads=1)  # which opens the other


def test_a_graph_without_branches_that_is_not_listed(package: Path) -> None:
    manifest = read_manifest(package)
    listed = {name: entry for name, entry in manifest.files.items() if name != PLAIN_MODEL}
    object.__setattr__(manifest, "files", listed)
    with pytest.raises(BaseError) as refusal:
        check_graphs(package, manifest)
    assert refusal.value.code == "base.manifest"


def test_a_name_that_is_not_utf8(package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = str(read_manifest(package).sites[0].u).encode()
    graph = package / MODEL
    graph.write_bytes(graph.read_bytes().replace(name, b"\xff" + name[1:]))
    assert refused(package) == "base.graph"
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_says_nothing_on_the_terminal(
    package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It would log what it raises as well, here that an epsilon is negative."""

    def spoil(model: Any) -> None:
        attributes = (a for node in model.graph.node for a in node.attribute)
        next(a for a in attributes if a.name == "epsilon").f = -1

    change_graph(package, spoil)
    assert refused(package) == "base.graph"
    assert capfd.readouterr() == ("", "")


def test_a_graph_of_other_bytes(package: Path) -> None:
    """The digest alone tells: the producer's name means nothing to onnxruntime."""
    graph = package / MODEL
    before = graph.read_bytes()
    after = before.replace(b"onnxruntime.tr", b"onnxruntime.tR")
    assert before != after
    graph.write_bytes(after)
    assert refused(package) == "base.digest"


def hub_cache(package: Path, root: Path, below: str = "") -> Path:
    """Lays the package out as a hub's cache does, in the folder `below` of the repository."""
    snapshot = root / "snapshots" / "0f3c"
    folder = snapshot / below
    (root / "blobs").mkdir(parents=True)
    folder.mkdir(parents=True)
    up = os.path.relpath(root, folder)
    for number, file in enumerate(sorted(package.iterdir())):
        blob = root / "blobs" / (f"{number:040x}" if number % 2 else f"{number:064x}")
        blob.write_bytes(file.read_bytes())
        (folder / file.name).symlink_to(f"{up}/blobs/{blob.name}")
    return folder


@pytest.mark.parametrize("below", ["", "packages/small"])
def test_a_hub_cache_and_a_link_to_a_folder_open(package: Path, tmp_path: Path, below: str) -> None:
    expected = EdgeSession(package, threads=1).run(IDS).hidden
    folder = hub_cache(package, tmp_path / "models--a--b", below)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "other").symlink_to(package)
    for opened in (folder, tmp_path / "link", tmp_path / "other"):
        check_digests(opened, read_manifest(opened))
        assert np.array_equal(EdgeSession(opened, threads=1).run(IDS).hidden, expected)


@pytest.mark.parametrize("name", ["manifest.json", MODEL, WEIGHTS])
@pytest.mark.parametrize("way", ["absolute", "up", "beside", "no hash", "not a snapshot", "chain"])
def test_other_links_are_refused(package: Path, tmp_path: Path, name: str, way: str) -> None:
    root = tmp_path / "models--a--b"
    folder = hub_cache(package, root)
    blob = root / "blobs" / (folder / name).readlink().name
    outside = tmp_path / "outside"
    if way in ("absolute", "up", "no hash", "chain"):
        blob.rename(outside)
    link = {"absolute": str(outside), "up": "../../../outside", "beside": f"{name}.real"}.get(way)
    if way == "beside":
        blob.rename(folder / f"{name}.real")
    elif way == "no hash":
        outside.rename(blob.with_name("weights"))
        link = "../../blobs/weights"
    elif way == "chain":
        blob.symlink_to(outside)
    elif way == "not a snapshot":
        (root / "snapshots").rename(root / "other")
        folder = root / "other" / folder.name
    if link is not None:
        (folder / name).unlink()
        (folder / name).symlink_to(link)
    assert (folder / name).is_file()
    assert refused(folder) == "base.file"


def test_a_file_that_is_read_whole_has_a_limit(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = "osd_edge.formats.package.open_folder._MOST_BYTES"
    size = (package / MODEL).stat().st_size
    monkeypatch.setattr(most, size)
    EdgeSession(package, threads=1)
    monkeypatch.setattr(most, size - 1)
    assert refused(package) == "base.file"
