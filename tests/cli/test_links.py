"""Outputs that are links: none replaces what is read, and a loop is refused in a line."""

import os
from pathlib import Path

import pytest

from tests.support.command_line import run_cli

Capture = pytest.CaptureFixture[str]


def test_an_adapter_replaces_no_bundle_and_no_package(
    capsys: Capture, tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = tmp_path / "b.onnx_adapter"
    bundle.write_bytes(tiny_bundles[0].read_bytes())
    before = bundle.read_bytes()
    link = tmp_path / "c.onnx_adapter"
    link.symlink_to(tiny_base / "model.onnx")
    for source, out in ((bundle, bundle), (tiny_bundles[0], link)):
        done = run_cli(capsys, "export", "adapter", source, "--base", tiny_base, "-o", out)
        assert done.code == 1 and "[output.same]" in done.err
    assert bundle.read_bytes() == before


def test_a_task_replaces_no_file_of_its_base(
    capsys: Capture, tiny_models: Path, tmp_path: Path
) -> None:
    link = tmp_path / "o.osd.safetensors"
    link.symlink_to(tiny_models / "base" / "config.json")
    models = ("--base", tiny_models / "base", "--tuned", tiny_models / "first")
    done = run_cli(capsys, "export", "task", *models, "-o", link)
    assert done.code == 1 and "[output.same]" in done.err


def test_a_loop_of_links_is_refused_in_a_line(
    capsys: Capture, tiny_models: Path, tmp_path: Path
) -> None:
    loop = tmp_path / "l"
    loop.symlink_to(loop)
    done = run_cli(capsys, "export", "base", tiny_models / "base", "-o", loop, "--overwrite")
    assert done.code == 1 and done.err.splitlines()[-1].startswith("osd-edge: ")
    models = ("--base", loop, "--tuned", tiny_models / "first")
    done = run_cli(capsys, "export", "task", *models, "-o", tmp_path / "x.osd.safetensors")
    assert done.code == 1 and done.err.splitlines()[-1].startswith("osd-edge: ")


def test_a_name_that_is_no_unicode_is_refused_in_a_line(
    capsys: Capture,
    tiny_models: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    out = tmp_path / os.fsdecode(b"\xff.onnx_adapter")
    for given in (
        ("adapter", tiny_bundles[0], "--base", tiny_base, "-o", out),
        ("base", tiny_models / "base", "-o", tmp_path / os.fsdecode(b"\xff")),
    ):
        done = run_cli(capsys, "export", *given)
        assert done.code == 1 and "[output.unwritable]" in done.err
    assert not any(tmp_path.iterdir())
