"""ViT, the first family without text: base and tasks against torch, and pictures as pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    ViTImageProcessor,
)

from osd_edge.errors import BaseError, InputError
from osd_edge.exporters import export_task
from osd_edge.exporters.kinds.base import divergence
from osd_edge.exporters.models.fine_tuned import open_fine_tuned
from osd_edge.exporters.models.module_names import checkpoint_name
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession
from tests.support import tiny
from tests.support.pictures import save_pictures


def pictures(count: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 16, 16, 3), np.uint8)


def test_base_and_task_equal_torch(vit: Path) -> None:
    session = EdgeSession(vit / "package", threads=1)
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    pixels = processor(list(pictures()), return_tensors="pt")["pixel_values"]
    model = AutoModel.from_pretrained(vit / "base").eval()
    with torch.inference_mode():
        hidden = model(pixels).last_hidden_state.numpy()
    output = session.run({"pixel_values": pixels.numpy()})
    assert np.abs(output.hidden - hidden).max() <= 1e-4
    # What a bundle leaves out (embeddings, biases, LayerNorms) is set to the base's.
    pair = open_fine_tuned(vit / "base", vit / "tuned")
    reference = AutoModelForImageClassification.from_pretrained(vit / "tuned").eval()
    linear = {f"{layer.name}.weight" for layer in pair.backbone.layers}
    with torch.no_grad():
        for full, parameter in reference.named_parameters():
            name = checkpoint_name(pair.backbone.family, full.removeprefix("vit."))
            if name in pair.backbone.parameters and name not in linear:
                parameter.copy_(pair.backbone.checkpoint.float32(name))
        expected = reference(pixels).logits.numpy()
    session.activate(session.load(vit / "task.osd.safetensors"))
    logits = session.run({"pixel_values": pixels.numpy()}).logits
    assert logits is not None and np.abs(logits - expected).max() <= 1e-4
    answers = session.classify_images(pictures())
    assert [a.label for a in answers] == [tiny.LABELS[i] for i in expected.argmax(-1)]


def test_what_is_no_picture_is_refused(vit: Path) -> None:
    session = EdgeSession(vit / "package", threads=1)
    session.activate(session.load(vit / "task.osd.safetensors"))
    with pytest.raises(InputError, match="uint8"):
        session.classify_images(pictures().astype(np.float32))
    with pytest.raises(InputError, match="16, 16, 3"):
        session.classify_images(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InputError) as caught:
        session.run({"input_ids": np.ones((1, 3), np.int64)})
    assert caught.value.code == "input.names"
    with pytest.raises(InputError) as caught:
        session.run({"pixel_values": np.full((1, 3, 16, 16), np.nan, np.float32)})
    assert caught.value.code == "input.shape"
    with pytest.raises(BaseError) as missing:
        session.classify(["a cat"])
    assert missing.value.code == "base.text"


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("refine", ["scales", "codes"])
def test_pictures_calibrate_it(vit: Path, tmp_path: Path, refine: str) -> None:
    save_pictures(tmp_path / "pictures", 60)
    bundles = []
    for name, calibration in (("with", tmp_path / "pictures"), ("without", None)):
        out = tmp_path / f"{name}.osd.safetensors"
        export_task(
            vit / "base",
            vit / "tuned",
            out,
            budget="3KiB",
            refine=refine if calibration else "none",
            calibration=calibration,
        )
        bundles.append(read_bundle_file(out))
    calibrated, blind = bundles
    assert calibrated.scores["labelled"]
    assert not blind.scores
    # On pictures of the same kind its answers are nearer to the fine-tuned model's.
    save_pictures(tmp_path / "others", 90)
    files = sorted((tmp_path / "others").rglob("*.png"))[60:]
    images = np.stack([np.asarray(Image.open(file).resize((16, 16))) for file in files])
    processor = ViTImageProcessor.from_pretrained(vit / "base")
    pixels = processor(list(images), return_tensors="pt")["pixel_values"]
    tuned = AutoModelForImageClassification.from_pretrained(vit / "tuned").eval()
    with torch.inference_mode():
        expected = tuned(pixels).logits
    session = EdgeSession(vit / "package", threads=1)
    errors = []
    for name in ("with", "without"):
        session.activate(session.load(tmp_path / f"{name}.osd.safetensors"))
        logits = session.run({"pixel_values": pixels.numpy()}).logits
        errors.append(float(divergence(torch.from_numpy(logits), expected)))
    assert errors[0] < errors[1]


def test_a_package_that_does_not_say_how_pictures_are_prepared(
    vit: Path, tmp_path: Path, tiny_base: Path
) -> None:
    manifest = json.loads((vit / "package" / "manifest.json").read_text("utf-8"))
    assert manifest["image"]["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(BaseError) as caught:
        EdgeSession(tiny_base, threads=1).classify_images(pictures())
    assert caught.value.code == "base.image"
