"""Checkpoints as people have them: sharded, with and without a class prefix, with old names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from osd_edge.exporters import export_task
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fingerprint import fingerprint


def fingerprint_of(model: Path) -> str:
    backbone = backbone_of(Checkpoint(model))
    return fingerprint(backbone.checkpoint, list(backbone.parameters))


def test_shards_are_read_like_one_file(tiny_models: Path, tmp_path: Path) -> None:
    for name, kind in (("base", AutoModel), ("first", AutoModelForSequenceClassification)):
        model = kind.from_pretrained(tiny_models / name)
        model.save_pretrained(tmp_path / name, max_shard_size="20KB")
        assert len(list((tmp_path / name).glob("model-*.safetensors"))) > 2
    whole, sharded = tmp_path / "a.osd.safetensors", tmp_path / "b.osd.safetensors"
    export_task(tiny_models / "base", tiny_models / "first", whole, name="task", method="truncsvd")
    export_task(tmp_path / "base", tmp_path / "first", sharded, name="task", method="truncsvd")
    assert sharded.read_bytes() == whole.read_bytes()


def test_the_prefix_of_a_model_class_changes_no_fingerprint(
    tiny_models: Path, tmp_path: Path
) -> None:
    tensors = load_file(tiny_models / "base" / "model.safetensors")
    prefixed = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    prefixed["cls.predictions.bias"] = torch.zeros(16)
    tmp_path.joinpath("config.json").write_bytes(
        (tiny_models / "base" / "config.json").read_bytes()
    )
    save_file(prefixed, tmp_path / "model.safetensors")
    assert fingerprint_of(tmp_path) == fingerprint_of(tiny_models / "base")


def test_old_names_of_layer_norms_are_understood(tiny_models: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_models / "base" / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert set(old) != set(tensors)
    tmp_path.joinpath("config.json").write_bytes(
        (tiny_models / "base" / "config.json").read_bytes()
    )
    save_file(old, tmp_path / "model.safetensors")
    assert fingerprint_of(tmp_path) == fingerprint_of(tiny_models / "base")


@pytest.mark.parametrize("change", [0, 1])
def test_one_changed_bit_changes_the_fingerprint(
    tiny_models: Path, tmp_path: Path, change: int
) -> None:
    tensors = load_file(tiny_models / "base" / "model.safetensors")
    bits = tensors["encoder.layer.1.output.dense.bias"].view(torch.int32)
    bits[3] ^= change
    tmp_path.joinpath("config.json").write_bytes(
        (tiny_models / "base" / "config.json").read_bytes()
    )
    save_file(tensors, tmp_path / "model.safetensors")
    same = fingerprint_of(tmp_path) == fingerprint_of(tiny_models / "base")
    assert same is (change == 0)


def test_no_file_of_a_large_checkpoint_is_kept_open(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sharded"
    AutoModel.from_pretrained(tiny_models / "base").save_pretrained(folder, max_shard_size="20KB")
    small = Checkpoint(folder)
    small.stored(small.names()[0])
    assert len(small._files) == 1
    # Each of its files is smaller than what counts as large, all together are not.
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    monkeypatch.setattr("osd_edge.exporters.models.checkpoint._LARGE", sum(sizes))
    large = Checkpoint(folder)
    assert max(sizes) < sum(sizes)
    for name in large.names():
        assert torch.equal(large.stored(name), small.stored(name))
    assert large._files == {}
