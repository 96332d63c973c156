"""Exports that people make by mistake, or of models that hardly differ: nothing lost or broken."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from osd_edge.errors import OutputError
from osd_edge.exporters import export_base, export_task
from osd_edge.exporters.methods.floor import Floor
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.kinds import make_embedding

pytestmark = pytest.mark.usefixtures("few_steps")


def test_a_file_of_a_model_that_is_read_is_not_replaced(tiny_models: Path, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(tiny_models / "first", tuned)
    weights = tuned / "model.safetensors"
    before = weights.read_bytes()
    with pytest.raises(OutputError) as refusal:
        export_task(tiny_models / "base", tuned, weights)
    assert refusal.value.code == "output.same" and weights.read_bytes() == before
    bundle = tuned / "mr.osd.safetensors"
    for _ in range(2):  # a bundle beside the weights is as good a place as any
        export_task(tiny_models / "base", tuned, bundle)


def test_a_pipe_by_number_takes_a_bundle(tiny_models: Path) -> None:
    reading, writing = os.pipe()
    out = Path(f"/dev/fd/{writing}")
    if not out.exists():
        pytest.skip("this system names no open files")
    export_task(tiny_models / "base", tiny_models / "first", out, budget="4KiB", name="t")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert b"osd" in file.read()


def test_a_pooler_that_nothing_reads_has_no_delta(tmp_path: Path) -> None:
    base = tiny.make_base("bert", tmp_path / "base")
    make_embedding(base, tmp_path / "tuned")
    model = AutoModel.from_pretrained(base)  # sentence-transformers saves an unused pooler, too
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "tuned")
    texts = tiny.write_tsv(tmp_path / "texts.tsv")
    for calibration in (None, texts):
        out = tmp_path / "e.osd.safetensors"
        export_task(base, tmp_path / "tuned", out, calibration=calibration)
        package = tmp_path / "package"
        if not package.exists():
            export_base(base, package)
        session = EdgeSession(package, threads=1)
        names = [site.name for site in session.manifest.sites]
        sites = {names[delta.site] for delta in read_bundle_file(out).sites}
        assert sites and "pooler.dense" not in sites


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_delta_that_is_hardly_there_leaves_the_head(
    tiny_models: Path, tmp_path: Path, calibrated: bool
) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(tiny_models / "first", tuned)
    weights = load_file(tuned / "model.safetensors")
    base = load_file(tiny_models / "base" / "model.safetensors")
    for name, value in base.items():
        if f"bert.{name}" in weights:
            noise = 1e-7 * torch.randn_like(value) if value.ndim == 2 else 0
            weights[f"bert.{name}"] = value + noise
    save_file(weights, tuned / "model.safetensors", {"format": "pt"})
    out = tmp_path / "t.osd.safetensors"
    rows = tiny_models / "examples.tsv" if calibrated else None
    report = export_task(tiny_models / "base", tuned, out, calibration=rows)
    head = read_bundle_file(out).head.decode().layers[-1]
    assert (
        torch.allclose(torch.from_numpy(head.dense()), weights["classifier.weight"], atol=0.02)
        or report.refine == "scales"
    )
    assert out.stat().st_size == report.size


def test_a_file_is_written_when_all_else_is_done(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Floor, "gain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_task(
            tiny_models / "base",
            tiny_models / "first",
            tmp_path / "t.osd.safetensors",
            calibration=tiny_models / "examples.tsv",
            refine="none",
        )
    assert not any(tmp_path.iterdir())
