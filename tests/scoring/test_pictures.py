"""Pictures as a calibration set: read, prepared as transformers does, or refused."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    ViTImageProcessor,
)

from osd_edge.data.examples import Example
from osd_edge.errors import DataError, OsdEdgeError
from osd_edge.exporters import export_task
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.image_preparation import preparation
from osd_edge.exporters.scoring.calibrated_task import batches_of
from osd_edge.exporters.scoring.pictures import Pixels, read_pictures
from tests.support import tiny
from tests.support.pictures import save_pictures


def test_pictures_are_prepared_as_transformers_does(vit: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path, 6)
    examples = read_pictures(tmp_path)
    batches = batches_of(open_fine_tuned(vit / "base", vit / "tuned"), examples, 4)
    assert [len(batch.rows) for batch in batches] == [4, 2]
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    opened = [Image.open(example.picture) for example in examples if example.picture]
    expected = processor(opened, return_tensors="pt")["pixel_values"]
    given = torch.cat([batch.tokens["pixel_values"] for batch in batches])
    assert (given - expected).abs().max() <= 1e-6
    assert [e.label for e in examples] == [e.text.split("/")[0] for e in examples]


def test_calibration_sets_that_do_not_fit_are_refused(
    vit: Path, tmp_path: Path, tiny_models: Path
) -> None:
    pictures = tmp_path / "pictures"

    def refusal(base: Path, tuned: Path, calibration: Path | list[Example]) -> str:
        out = tmp_path / "task.osd.safetensors"
        with pytest.raises(OsdEdgeError) as caught:
            export_task(base, tuned, out, calibration=calibration)
        assert not out.exists()
        return caught.value.code

    assert refusal(vit / "base", vit / "tuned", [Example("a cat")]) == "data.images"
    pictures.mkdir()
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.empty"
    save_pictures(pictures, 12)
    assert refusal(tiny_models / "base", tiny_models / "first", pictures) == "data.images"
    torn = pictures / tiny.LABELS[0] / "torn.png"
    torn.write_bytes((pictures / tiny.LABELS[0] / "0.png").read_bytes()[:60])
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.picture"
    torn.rename(pictures / "loose.png")
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.unlabelled"
    (pictures / "loose.png").unlink()
    (pictures / tiny.LABELS[0]).rename(pictures / "a label of another model")
    assert refusal(vit / "base", vit / "tuned", pictures) == "data.label"
    bare = tmp_path / "bare"
    shutil.copytree(vit / "base", bare)
    (bare / "preprocessor_config.json").unlink()
    (pictures / "a label of another model").rename(pictures / tiny.LABELS[0])
    assert refusal(bare, vit / "tuned", pictures) == "model.images"


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    save_pictures(tmp_path / "set", 6)
    expected = read_pictures(tmp_path / "set")
    (tmp_path / "set" / ".thumbs").mkdir()
    shutil.copy(expected[0].picture or "", tmp_path / "set" / ".thumbs" / "0.png")
    (tmp_path / "set" / tiny.LABELS[0] / "._0.png").write_bytes(b"notes of macOS")
    (tmp_path / "set" / "._1.png").write_bytes(b"notes of macOS")
    assert read_pictures(tmp_path / "set") == expected


def test_a_large_picture_is_read_without_a_word(
    vit: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # of a picture of 480 or more
    prepared = preparation(Checkpoint(vit / "base"))
    assert prepared is not None
    files = [example.picture for example in read_pictures(tmp_path) if example.picture]
    Pixels(files, prepared)["pixel_values"]
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # more than twice that is a bomb
    with pytest.raises(DataError):
        Pixels(files, prepared)["pixel_values"]
