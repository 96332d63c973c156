"""Adapters that people make by mistake: nothing of theirs is lost, and none is written in part."""

import shutil
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from osd_edge.errors import InputError, OutputError
from osd_edge.exporters import export_task
from osd_edge.exporters.adapters.onnx_adapter import export_onnx_adapter
from osd_edge.exporters.adapters.peft_folder import export_peft
from tests.support.command_line import run_cli
from tests.support.setfit import make_setfit, random_vectors

Capture = pytest.CaptureFixture[str]


def test_an_adapter_does_not_replace_its_bundle(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copy(tiny_bundles[0], tmp_path / "z.head.safetensors"))
    with pytest.raises(OutputError) as refusal:
        export_onnx_adapter(bundle, tiny_base, tmp_path / "z.onnx_adapter")
    assert refusal.value.code == "output.same"
    assert bundle.read_bytes() == tiny_bundles[0].read_bytes()


def test_an_adapter_is_written_whole_or_not_at_all(
    tiny_base: Path, tiny_bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "e.head.json").mkdir()
    with pytest.raises(OutputError):
        export_onnx_adapter(tiny_bundles[0], tiny_base, tmp_path / "e.onnx_adapter")
    assert [path.name for path in tmp_path.iterdir()] == ["e.head.json"]


def test_a_head_alone_is_no_task_for_peft(
    tiny_models: Path,
    tiny_base: Path,
    tiny_bundles: tuple[Path, Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    bundle = tmp_path / "head.osd.safetensors"
    rows = tiny_models / "examples.tsv"
    export_task(
        tiny_models / "base", tiny_models / "first", bundle, method="head", calibration=rows
    )
    with pytest.raises(InputError) as refusal:
        export_peft(bundle, tiny_base, tmp_path / "out")
    assert refusal.value.code == "input.adapter" and "--to onnx" in str(refusal.value)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    options = ("--base", tiny_base, "--to", "peft", "-o", tmp_path / "out")
    done = run_cli(capsys, "export", "adapter", tiny_bundles[0], *options)
    assert done.code == 1 and "[output.exists]" in done.err and "--overwrite" not in done.err


def test_a_head_that_is_not_the_familys_is_no_task_for_peft(
    tiny_models: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """SetFit's classifier is over the mean of all states, BERT's own over the pooler."""
    head = LogisticRegression().fit(random_vectors(), [i % 3 for i in range(60)])
    tuned = make_setfit(tiny_models / "base", tmp_path / "tuned", head)
    bundle = tmp_path / "task.osd.safetensors"
    export_task(tiny_models / "base", tuned, bundle)
    with pytest.raises(InputError, match="pooling mean, 1 layers") as refusal:
        export_peft(bundle, tiny_base, tmp_path / "peft")
    assert refusal.value.code == "input.adapter" and not (tmp_path / "peft").exists()
    assert export_onnx_adapter(bundle, tiny_base, tmp_path / "task.onnx_adapter").sites
