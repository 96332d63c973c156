"""Bundles and base packages on the device: exit 1, a line with a stable code, no traceback."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from osd_edge.exporters import export_base
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.formats.bundle.writer import write_bundle
from osd_edge.formats.package.manifest import MANIFEST, WEIGHTS
from tests.support import tiny
from tests.support.command_line import run_cli
from tests.support.refused import assert_refused

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def device(tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of a base package and a bundle: `base`, `task.osd.safetensors`."""
    shutil.copytree(tiny_base, tmp_path / "base")
    shutil.copy(tiny_bundles[0], tmp_path / "task.osd.safetensors")
    return tmp_path


def run_and_verify(capsys: Capture, device: Path, code: str, *words: str) -> None:
    bundle, base = device / "task.osd.safetensors", device / "base"
    ran = run_cli(capsys, "run", "--base", base, "--bundle", bundle, "--text", "a cat")
    assert_refused(ran, code, *words)
    assert_refused(run_cli(capsys, "verify", bundle, "--base", base), code, *words)


def test_bundles_that_cannot_be_trusted(device: Path, capsys: Capture) -> None:
    bundle = device / "task.osd.safetensors"
    whole = bundle.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        bundle.write_bytes(whole[:size])
        code = {0: "bundle.too-short", 7: "bundle.too-short", 100: "bundle.header-length"}
        run_and_verify(capsys, device, code.get(size, "bundle.truncated"))
    flipped = bytearray(whole)
    flipped[-5] ^= 4
    bundle.write_bytes(flipped)
    run_and_verify(capsys, device, "bundle.digest", "damaged")
    bundle.write_bytes(whole.replace(b'"osd.format":"1"', b'"osd.format":"2"'))
    run_and_verify(capsys, device, "bundle.version", "update osd-edge")
    bundle.write_text("not a bundle, but some text")
    run_and_verify(capsys, device, "bundle.header-length")
    save_file({"weight": torch.zeros(3)}, bundle)
    run_and_verify(capsys, device, "bundle.not-a-bundle")
    bundle.unlink()
    run_and_verify(capsys, device, "bundle.missing")


def test_a_bundle_of_another_base(device: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tiny.make_base("bert", tmp_path / "other", seed=7)
    export_base(other, device / "base", overwrite=True)
    run_and_verify(capsys, device, "bundle.base", "export the task for this base")


def test_base_packages_with_missing_or_short_files(device: Path, capsys: Capture) -> None:
    weights = device / "base" / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    run_and_verify(capsys, device, "base.file", WEIGHTS, str(len(whole)))
    weights.unlink()
    run_and_verify(capsys, device, "base.file", "is missing")
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    verified = run_cli(capsys, "verify", device / "task.osd.safetensors", "--base", device / "base")
    assert_refused(verified, "base.digest")
    manifest = device / "base" / MANIFEST
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(fields | {"format": 9}))
    run_and_verify(capsys, device, "base.version")
    manifest.write_text("[]")
    run_and_verify(capsys, device, "base.version")
    malformed: tuple[dict[str, object], ...] = (
        {"fingerprint": 5},
        {"files": {}},
        {"files": {"../x": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"model.onnx": {"bytes": 1}}},
        {"inputs": "input_ids"},
        {"inputs": ["input_ids"]},
        {"inputs": ["input_ids", 5]},
        {"hidden_output": None},
        {"pooler_output": 5},
        {"hidden_size": 32.0},
        {"text": {"max_length": "x", "pad_id": 0}},
        {"text": {"max_length": 64, "pad_id": -1}},
        {"sites": [fields["sites"][0] | {"v": None}]},
        {"sites": [fields["sites"][0], fields["sites"][0]]},
    )
    for changes in malformed:
        manifest.write_text(json.dumps(fields | changes))
        run_and_verify(capsys, device, "base.manifest")
    manifest.write_text("{")
    run_and_verify(capsys, device, "base.manifest")
    manifest.write_text(json.dumps({"format": 1, "sites": 3}))
    run_and_verify(capsys, device, "base.manifest")
    manifest.unlink()
    run_and_verify(capsys, device, "base.missing", "export base")


def test_a_manifest_of_another_graph(device: Path, capsys: Capture) -> None:
    """Names of two sites swapped: each layer would get the other's factors."""
    path = device / "base" / MANIFEST
    fields = json.loads(path.read_text())
    sites = fields["sites"]
    first, other = sites[0], next(s for s in sites if s["n"] != sites[0]["n"])
    for factor in ("u", "v"):
        first[factor], other[factor] = other[factor], first[factor]
    path.write_text(json.dumps(fields))
    bundle = device / "task.osd.safetensors"
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    assert_refused(ran, "base.graph", "manifest")


def test_what_a_file_says_cannot_drive_the_terminal(device: Path, capsys: Capture) -> None:
    bundle = device / "task.osd.safetensors"
    hostile = "\x1b[31mred\n\x9b\u202e" + "x" * 5000
    content = replace(
        read_bundle_file(bundle),
        labels=(hostile, "b", "c"),
        task_version=hostile,
        tool=hostile,
        method={hostile: hostile},
        scores={hostile: {hostile: 1}},
    )
    bundle.write_bytes(write_bundle(content))
    shown = run_cli(capsys, "inspect", bundle)
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    as_json = run_cli(capsys, "inspect", bundle, "--json")
    for result in (shown, ran, as_json):
        assert result.code == 0
        assert not set(result.out) & set("\x1b\x9b\u202e\r")
    assert len(shown.out) + len(ran.out) < 5000
    assert json.loads(as_json.out)["labels"][0] == hostile


def test_a_graph_that_onnxruntime_cannot_open(device: Path, capsys: Capture) -> None:
    graph = device / "base" / "model.onnx"
    size = graph.stat().st_size
    graph.write_bytes(struct.pack("<Q", 7) * (size // 8) + b"\0" * (size % 8))
    bundle = device / "task.osd.safetensors"
    ran = run_cli(capsys, "run", "--base", device / "base", "--bundle", bundle, "--text", "cat")
    assert_refused(ran, "base.graph")


def test_evaluation_data(device: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("label\ttext\nmauve\ta cat\n")
    arguments = ("--base", device / "base", "--bundle", device / "task.osd.safetensors")
    assert_refused(
        run_cli(capsys, "evaluate", *arguments, "--data", data), "data.label", "line 2", "mauve"
    )
    asked = run_cli(capsys, "run", *arguments, "--text", "a cat", "--question", "who?")
    assert_refused(asked, "input.options", "--question")
    data.write_text("text\ttext_pair\na cat\ta dog\n")
    assert_refused(run_cli(capsys, "evaluate", *arguments, "--data", data), "data.unlabelled")
    assert_refused(
        run_cli(capsys, "evaluate", *arguments, "--data", tmp_path / "x.txt"), "input.data"
    )
